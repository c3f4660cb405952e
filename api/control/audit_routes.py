"""The audit log over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from limiter.api.control.registry_bodies import AuditPage, Count, Cursor
from limiter.api.registry import Audit
from limiter.api.registry.views import entry_view

Account = Annotated[str, Query(description="Only the entries of this account.")]
Refused = Annotated[bool, Query(description="List refused requests instead of changes.")]


def add_audit_route(router: APIRouter, audit: Audit) -> None:
    @router.get("/audit", tags=["audit"])
    async def list_audit_entries(cursor: Cursor = "", count: Count = 100, account: Account = "", refused: Refused = False) -> AuditPage:
        """Changes to accounts and keys, newest first, one page at a time."""
        page = await audit.read(cursor, count, account=account, refused=refused)
        return {"entries": [entry_view(each) for each in page.items], "cursor": page.cursor}
