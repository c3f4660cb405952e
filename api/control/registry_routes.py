"""The registry over HTTP: the same verbs as `limiter accounts`, `limiter keys` and `limiter audit`."""

from typing import Annotated

from fastapi import APIRouter, Query

from limiter.api.control.account_routes import add_account_routes
from limiter.api.control.key_routes import add_key_change_routes, add_key_routes
from limiter.api.control.problem_handlers import problem_responses
from limiter.api.control.registry_bodies import AuditPage, Count, Cursor
from limiter.api.registry import Registry
from limiter.api.registry.views import entry_view

OnlyAccount = Annotated[str, Query(description="List only the entries of this account.")]
Refused = Annotated[bool, Query(description="List refused requests instead of changes.")]


def registry_router(registry: Registry) -> APIRouter:
    router = APIRouter(responses=problem_responses(400, 401, 404, 409, 413, 422, 503))
    add_account_routes(router, registry.accounts)
    add_key_routes(router, registry)
    add_key_change_routes(router, registry)

    @router.get("/audit", tags=["audit"])
    async def list_audit_entries(cursor: Cursor = "", count: Count = 100, account: OnlyAccount = "", refused: Refused = False) -> AuditPage:
        """Changes to accounts and keys, newest first, one page at a time."""
        page = await registry.audit.read(cursor, count, account=account, refused=refused)
        return {"entries": [entry_view(each) for each in page.items], "cursor": page.cursor}

    return router
