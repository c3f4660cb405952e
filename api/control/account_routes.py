"""Accounts over HTTP."""

from fastapi import APIRouter

from limiter.api.control.registry_bodies import AccountPage, AccountPatch, Count, Cursor, DeletedAccount, NewAccount
from limiter.api.registry.accounts import Accounts
from limiter.api.registry.views import AccountView, account_view


def add_account_routes(router: APIRouter, accounts: Accounts) -> None:
    @router.get("/accounts", tags=["accounts"])
    async def list_accounts(cursor: Cursor = "", count: Count = 100) -> AccountPage:
        """Accounts in the order of their ids, one page at a time."""
        page = await accounts.list(cursor, count)
        return {"accounts": [account_view(each) for each in page.items], "cursor": page.cursor}

    @router.post("/accounts", tags=["accounts"], status_code=201)
    async def create_account(body: NewAccount) -> AccountView:
        return account_view(await accounts.create(body.id, **body.change()))

    @router.get("/accounts/{account}", tags=["accounts"])
    async def show_account(account: str) -> AccountView:
        return account_view(await accounts.show(account))

    @router.patch("/accounts/{account}", tags=["accounts"])
    async def change_account(account: str, body: AccountPatch) -> AccountView:
        """Changes the fields that the body contains, and keeps the others."""
        return account_view(await accounts.set(account, **body.change()))

    @router.post("/accounts/{account}/suspend", tags=["accounts"])
    async def suspend_account(account: str) -> AccountView:
        """Refuses every key of the account, from the next request on."""
        return account_view(await accounts.suspend(account))

    @router.post("/accounts/{account}/activate", tags=["accounts"])
    async def activate_account(account: str) -> AccountView:
        """Ends a suspension."""
        return account_view(await accounts.activate(account))

    @router.delete("/accounts/{account}", tags=["accounts"])
    async def delete_account(account: str, with_keys: bool = False) -> DeletedAccount:
        """Deletes the account. If it has keys, this requires `with_keys` and deletes them too."""
        await accounts.delete(account, with_keys=with_keys)
        return {"deleted": account}
