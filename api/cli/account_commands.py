"""`limiter accounts`: create, list, show, set, suspend, activate, delete."""

from __future__ import annotations

from typing import Annotated

import typer

from limiter.api.cli.registry_command import Printed, command, listed
from limiter.api.registry import Account, Registry
from limiter.api.registry.changes import AccountChange
from limiter.api.registry.views import account_view

accounts_app = typer.Typer(help="Accounts: whose keys there are, and at which tier.", no_args_is_help=True)

_COLUMNS = ("id", "tier", "state", "policy", "limits", "created")

AccountId = Annotated[str, typer.Argument(metavar="ACCOUNT")]
Limits = Annotated[list[str], typer.Option("--limit", help="A limit of its own, such as '100/minute'; several times for several.")]
PolicyName = Annotated[str | None, typer.Option("--policy", help="A policy of the configuration, in place of the tier's.")]
Clear = Annotated[list[str], typer.Option("--clear", help="What to take away: policy, limits (of keys also scopes, addresses).")]


@command(accounts_app, "create")
async def create(registry: Registry, account: AccountId, tier: str, policy: PolicyName = None, limit: Limits = []) -> Printed:  # noqa: B006
    """Create an account at a tier."""
    return _printed(await registry.accounts.create(account, tier=tier, policy=policy, limits=limit))


@command(accounts_app, "list")
async def lists(registry: Registry, cursor: str = "", count: int = 100) -> Printed:
    """List accounts by name, a page at a time."""
    page = await registry.accounts.list(cursor, count)
    return listed({"accounts": [account_view(each) for each in page.items], "cursor": page.cursor}, "accounts", _COLUMNS)


@command(accounts_app, "show")
async def show(registry: Registry, account: AccountId) -> Printed:
    """Show an account."""
    return _printed(await registry.accounts.show(account))


@command(accounts_app, "set")
async def sets(
    registry: Registry,
    account: AccountId,
    tier: str | None = None,
    policy: PolicyName = None,
    limit: Limits = [],  # noqa: B006 - typer copies it
    clear: Clear = [],  # noqa: B006
) -> Printed:
    """Change an account's tier, policy or limits, from its next request on."""
    change: AccountChange = {}
    if tier is not None:
        change["tier"] = tier
    if policy is not None or "policy" in cleared(clear, {"policy", "limits"}):
        change["policy"] = policy
    if limit or "limits" in clear:
        change["limits"] = limit
    return _printed(await registry.accounts.set(account, **change))


@command(accounts_app, "suspend")
async def suspend(registry: Registry, account: AccountId) -> Printed:
    """Refuse all keys of the account, from the next request on."""
    return _printed(await registry.accounts.suspend(account))


@command(accounts_app, "activate")
async def activate(registry: Registry, account: AccountId) -> Printed:
    """Let a suspended account in again."""
    return _printed(await registry.accounts.activate(account))


@command(accounts_app, "delete")
async def delete(
    registry: Registry,
    account: AccountId,
    with_keys: Annotated[bool, typer.Option("--with-keys", help="With all its keys.")] = False,
) -> Printed:
    """Delete an account; refused where it has keys, unless told."""
    await registry.accounts.delete(account, with_keys=with_keys)
    return Printed({"deleted": account}, ("deleted",))


def cleared(names: list[str], known: set[str]) -> list[str]:
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"--clear {name}: use one of {', '.join(sorted(known))}")
    return names


def _printed(account: Account) -> Printed:
    return Printed(account_view(account), _COLUMNS)
