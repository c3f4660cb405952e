"""`limiter accounts`."""

from typing import Annotated

import typer

from limiter.api.cli.console import Printed, page
from limiter.api.cli.options import AccountId, Count, Cursor, Limits, PolicyName, Tier, cleared, repeatable
from limiter.api.cli.registry_command import command
from limiter.api.registry import Account, Registry
from limiter.api.registry.changes import AccountChange
from limiter.api.registry.views import account_view

accounts_app = typer.Typer(help="Manage accounts: each owns keys and has a tier.", no_args_is_help=True)

_COLUMNS = ("id", "tier", "state", "policy", "limits", "created")

TierArgument = Annotated[str, typer.Argument(metavar="TIER", help="A tier of the configuration.")]
Clear = Annotated[list[str], repeatable("--clear", "Remove a setting of the account: policy or limits.")]
WithKeys = Annotated[bool, typer.Option("--with-keys", help="Delete the account's keys as well.")]


@command(accounts_app, "create")
async def create_account(registry: Registry, account: AccountId, tier: TierArgument, limit: Limits, policy: PolicyName = None) -> Printed:
    """Create an account with a tier."""
    return _printed(await registry.accounts.create(account, tier=tier, policy=policy, limits=limit))


@command(accounts_app, "list")
async def list_accounts(registry: Registry, cursor: Cursor = "", count: Count = 100) -> Printed:
    """List accounts by id, one page at a time."""
    found = await registry.accounts.list(cursor, count)
    view = {"accounts": [account_view(each) for each in found.items], "cursor": found.cursor}
    empty = "There are no accounts yet. Create one: limiter accounts create ACCOUNT TIER"
    return page(view, "accounts", _COLUMNS, empty=empty, cursor=cursor)


@command(accounts_app, "show")
async def show_account(registry: Registry, account: AccountId) -> Printed:
    """Show an account."""
    return _printed(await registry.accounts.show(account))


@command(accounts_app, "set")
async def set_account(
    registry: Registry, account: AccountId, limit: Limits, clear: Clear, tier: Tier = None, policy: PolicyName = None
) -> Printed:
    """Change an account's tier, policy or limits. The change applies from the next request on."""
    cleared(clear, {"policy", "limits"})
    change: AccountChange = {}
    if tier is not None:
        change["tier"] = tier
    if policy is not None or "policy" in clear:
        change["policy"] = policy
    if limit or "limits" in clear:
        change["limits"] = limit
    return _printed(await registry.accounts.set(account, **change))


@command(accounts_app, "suspend")
async def suspend_account(registry: Registry, account: AccountId) -> Printed:
    """Refuse all keys of an account, from the next request on."""
    return _printed(await registry.accounts.suspend(account))


@command(accounts_app, "activate")
async def activate_account(registry: Registry, account: AccountId) -> Printed:
    """Accept the keys of a suspended account again."""
    return _printed(await registry.accounts.activate(account))


@command(accounts_app, "delete")
async def delete_account(registry: Registry, account: AccountId, with_keys: WithKeys = False) -> Printed:
    """Delete an account. An account that has keys is deleted only with --with-keys."""
    await registry.accounts.delete(account, with_keys=with_keys)
    return Printed({"deleted": account}, ("deleted",))


def _printed(account: Account) -> Printed:
    return Printed(account_view(account), _COLUMNS)
