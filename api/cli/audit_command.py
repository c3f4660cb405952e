"""`limiter audit`: what was changed, or who was refused."""

from __future__ import annotations

from typing import Annotated

import typer

from limiter.api.cli.registry_command import Printed, command, listed
from limiter.api.registry import Registry
from limiter.api.registry.views import entry_view

_COLUMNS = ("at", "action", "account", "key", "actor", "address", "count", "detail")

audit_app = typer.Typer()


@command(audit_app, "audit")
async def audit(
    registry: Registry,
    account: Annotated[str, typer.Option(help="Of this account only.")] = "",
    refused: Annotated[bool, typer.Option("--refused", help="Refused attempts, instead of changes.")] = False,
    cursor: str = "",
    count: int = 100,
) -> Printed:
    """Changes to accounts and keys, or refused attempts, the latest first."""
    page = await registry.audit.read(cursor, count, account=account, refused=refused)
    return listed({"entries": [entry_view(each) for each in page.items], "cursor": page.cursor}, "entries", _COLUMNS)
