"""The registry over HTTP, for the admin listener: the verbs of `limiter keys`, `accounts` and `audit`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from limiter.api.control.registry_bodies import AccountPatch, Import, KeyPatch, NewAccount, NewKey, Presented, Rotation
from limiter.api.registry import Conflict, InvalidRecord, Key, Registry, UnknownAccount, UnknownKey
from limiter.api.registry.views import View, account_view, entry_view, issued_view, key_view
from limiter.errors import BackendError, InvalidPolicy, LimiterError
from limiter.problems import CONTENT_TYPE, problem_body

_STATUSES: dict[type[LimiterError], int] = {
    InvalidRecord: 422,
    InvalidPolicy: 422,
    UnknownAccount: 404,
    UnknownKey: 404,
    Conflict: 409,
    BackendError: 503,
}
_NO_STORE = {"Cache-Control": "no-store"}

_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": meaning, "content": {CONTENT_TYPE: {}}}
    for status, meaning in (
        (400, "No text in UTF-8"),
        (401, "Without the token"),
        (404, "Unknown"),
        (409, "In conflict with what stands"),
        (422, "Malformed"),
        (503, "Redis does not answer"),
    )
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ProblemRoute(APIRoute):
    """Errors as problem+json. What was sent is not repeated: it may hold a raw key."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def answering(request: Request) -> Response:
            try:
                response = await handler(request)
            except RequestValidationError as error:
                return _problem(422, "; ".join(map(_told, error.errors())))
            except LimiterError as error:
                status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)
                return _problem(status, str(error))
            response.headers.update(_NO_STORE)
            return response

        return answering


def router(registry: Registry) -> APIRouter:
    """`/accounts`, `/accounts/{account}/keys`, `/keys/find` and `/audit`, to be mounted where the listener wants them."""
    routes = APIRouter(route_class=ProblemRoute, responses=_REFUSALS)
    _add_accounts(routes, registry)
    _add_keys(routes, registry)
    _add_changes_of_keys(routes, registry)
    return routes


def _add_accounts(routes: APIRouter, registry: Registry) -> None:
    accounts = registry.accounts

    @routes.get("/accounts", tags=["accounts"])
    async def list_accounts(cursor: str = "", count: int = 100) -> View:
        page = await accounts.list(cursor, count)
        return {"accounts": [account_view(each) for each in page.items], "cursor": page.cursor}

    @routes.post("/accounts", tags=["accounts"], status_code=201)
    async def create_account(body: NewAccount) -> View:
        return account_view(await accounts.create(body.id, **body.change()))

    @routes.get("/accounts/{account}", tags=["accounts"])
    async def show_account(account: str) -> View:
        return account_view(await accounts.show(account))

    @routes.patch("/accounts/{account}", tags=["accounts"])
    async def change_account(account: str, body: AccountPatch) -> View:
        return account_view(await accounts.set(account, **body.change()))

    @routes.post("/accounts/{account}/suspend", tags=["accounts"])
    async def suspend_account(account: str) -> View:
        return account_view(await accounts.suspend(account))

    @routes.post("/accounts/{account}/activate", tags=["accounts"])
    async def activate_account(account: str) -> View:
        return account_view(await accounts.activate(account))

    @routes.delete("/accounts/{account}", tags=["accounts"])
    async def delete_account(account: str, with_keys: bool = False) -> View:
        await accounts.delete(account, with_keys=with_keys)
        return {"deleted": account}

    @routes.get("/audit", tags=["audit"])
    async def audit(cursor: str = "", count: int = 100, account: str = "", refused: bool = False) -> View:
        page = await registry.audit.read(cursor, count, account=account, refused=refused)
        return {"entries": [entry_view(each) for each in page.items], "cursor": page.cursor}


def _add_keys(routes: APIRouter, registry: Registry) -> None:
    keys = registry.keys

    async def viewed(key: Key) -> View:
        return key_view(key, await registry.now_us())

    @routes.get("/accounts/{account}/keys", tags=["keys"])
    async def list_keys(account: str, cursor: str = "", count: int = 100) -> View:
        page, now_us = await keys.list(account, cursor, count), await registry.now_us()
        return {"keys": [key_view(each, now_us) for each in page.items], "cursor": page.cursor}

    @routes.post("/accounts/{account}/keys", tags=["keys"], status_code=201)
    async def issue_key(account: str, body: NewKey) -> View:
        return issued_view(await keys.issue(account, body.environment, **body.change()))

    @routes.post("/accounts/{account}/keys/import", tags=["keys"], status_code=201)
    async def import_key(account: str, body: Import) -> View:
        if body.sha256 is not None:
            return await viewed(await keys.adopt_digest(account, body.sha256, body.environment, **body.change()))
        if body.key is not None:
            return await viewed(await keys.adopt(account, body.key.get_secret_value(), body.environment, **body.change()))
        raise InvalidRecord("nothing to import: give `key`, or `sha256` of it")

    @routes.post("/keys/find", tags=["keys"])
    async def find_key(body: Presented) -> View:
        return await viewed(await keys.find(body.key.get_secret_value()))

    @routes.get("/accounts/{account}/keys/{key}", tags=["keys"])
    async def show_key(account: str, key: str) -> View:
        return await viewed(await keys.show(account, key))


def _add_changes_of_keys(routes: APIRouter, registry: Registry) -> None:
    keys = registry.keys

    async def viewed(key: Key) -> View:
        return key_view(key, await registry.now_us())

    @routes.patch("/accounts/{account}/keys/{key}", tags=["keys"])
    async def change_key(account: str, key: str, body: KeyPatch) -> View:
        return await viewed(await keys.set(account, key, **body.change()))

    @routes.post("/accounts/{account}/keys/{key}/rotate", tags=["keys"], status_code=201)
    async def rotate_key(account: str, key: str, body: Rotation) -> View:
        return issued_view(await keys.rotate(account, key, body.overlap))

    @routes.post("/accounts/{account}/keys/{key}/revoke", tags=["keys"])
    async def revoke_key(account: str, key: str) -> View:
        return await viewed(await keys.revoke(account, key))


def _told(error: Any) -> str:
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def _problem(status: int, detail: str) -> Response:
    return Response(problem_body(status, detail), status, _NO_STORE, CONTENT_TYPE)
