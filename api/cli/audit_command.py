"""`limiter audit`."""

from typing import Annotated

import typer

from limiter.api.cli.console import Printed, page
from limiter.api.cli.options import Count, Cursor
from limiter.api.cli.registry_command import command
from limiter.api.registry import Registry
from limiter.api.registry.views import entry_view

_COLUMNS = ("at", "action", "account", "key", "actor", "address", "count", "detail")

audit_app = typer.Typer()

OfAccount = Annotated[str, typer.Option(show_default=False, help="Only entries of this account. Default: all accounts.")]
Refused = Annotated[bool, typer.Option("--refused", help="Show refused requests instead of changes.")]


@command(audit_app, "audit")
async def audit(registry: Registry, account: OfAccount = "", refused: Refused = False, cursor: Cursor = "", count: Count = 100) -> Printed:
    """Show changes to accounts and keys, or refused requests. The latest comes first."""
    found = await registry.audit.read(cursor, count, account=account, refused=refused)
    view = {"entries": [entry_view(each) for each in found.items], "cursor": found.cursor}
    return page(view, "entries", _COLUMNS, empty=_empty(account, refused=refused), cursor=cursor)


def _empty(account: str, *, refused: bool) -> str:
    of_account = f" of the account {account}" if account else ""
    if refused:
        return f"There are no refused requests{of_account} yet. The sidecar writes them every 5 seconds."
    return f"There are no changes{of_account} yet. Show refused requests: limiter audit --refused"
