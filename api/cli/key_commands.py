"""`limiter keys`: issue, import, list, show, find, rename, set, rotate, revoke, tidy."""

from __future__ import annotations

from typing import Annotated

import typer

from limiter.api.cli.account_commands import AccountId, Clear, Limits, PolicyName, accounts_app, cleared
from limiter.api.cli.audit_command import audit_app
from limiter.api.cli.registry_command import Printed, command, listed, raw_key, seconds
from limiter.api.registry import Issued, Key, Registry
from limiter.api.registry.changes import KeyChange
from limiter.api.registry.views import issued_view, key_view

__all__ = ["accounts_app", "audit_app", "keys_app"]

keys_app = typer.Typer(help="Keys of accounts.", no_args_is_help=True)

_COLUMNS = ("id", "key_prefix", "name", "environment", "state", "scopes", "addresses", "created", "expires", "last_used")
_DETAILS = ("account", *_COLUMNS, "policy", "limits", "revoked", "rotated_to")

KeyId = Annotated[str, typer.Argument(metavar="ID", help="As `limiter keys list` shows it.")]
Name = Annotated[str | None, typer.Option(help="What people call the key.")]
Scopes = Annotated[list[str], typer.Option("--scope", help="What the key may do; several times for several.")]
Addresses = Annotated[list[str], typer.Option("--address", help="From where, such as 203.0.113.0/24; several times for several.")]
Environment = Annotated[str, typer.Option("--env", help="live or test.")]
Expires = Annotated[str | None, typer.Option("--expires", help="How long from now, such as 90d, or never. Test keys: 7d unless told.")]


@command(keys_app, "issue")
async def issue(
    registry: Registry,
    account: AccountId,
    env: Environment = "live",
    name: Name = None,
    scope: Scopes = [],  # noqa: B006 - typer copies it
    address: Addresses = [],  # noqa: B006
    expires: Expires = None,
    policy: PolicyName = None,
    limit: Limits = [],  # noqa: B006
) -> Printed:
    """Issue a key and print it, this once."""
    change = _change(name, scope, address, expires, policy, limit, [])
    return _issued(await registry.keys.issue(account, env, **change))


@command(keys_app, "import")
async def imports(
    registry: Registry,
    account: AccountId,
    digest: Annotated[str | None, typer.Option(help="SHA-256 of the key, in hexadecimal, instead of the key.")] = None,
    env: Environment = "live",
    name: Name = None,
    scope: Scopes = [],  # noqa: B006
    address: Addresses = [],  # noqa: B006
    expires: Expires = None,
    policy: PolicyName = None,
    limit: Limits = [],  # noqa: B006
) -> Printed:
    """Import a key that was made elsewhere: from standard input, or by its digest."""
    change = _change(name, scope, address, expires, policy, limit, [])
    if digest is not None:
        return await _printed(registry, await registry.keys.adopt_digest(account, digest, env, **change))
    return await _printed(registry, await registry.keys.adopt(account, raw_key(), env, **change))


@command(keys_app, "list")
async def lists(registry: Registry, account: AccountId, cursor: str = "", count: int = 100) -> Printed:
    """List an account's keys in the order of creation, a page at a time."""
    page, now_us = await registry.keys.list(account, cursor, count), await registry.now_us()
    return listed({"keys": [key_view(each, now_us) for each in page.items], "cursor": page.cursor}, "keys", _COLUMNS)


@command(keys_app, "show")
async def show(registry: Registry, account: AccountId, key: KeyId) -> Printed:
    """Show a key."""
    return await _printed(registry, await registry.keys.show(account, key))


@command(keys_app, "find")
async def find(registry: Registry) -> Printed:
    """Show whose key it is that is given on standard input."""
    return await _printed(registry, await registry.keys.find(raw_key()))


@command(keys_app, "rename")
async def rename(registry: Registry, account: AccountId, key: KeyId, name: str) -> Printed:
    """Give a key another name."""
    return await _printed(registry, await registry.keys.set(account, key, name=name))


@command(keys_app, "set")
async def sets(
    registry: Registry,
    account: AccountId,
    key: KeyId,
    name: Name = None,
    scope: Scopes = [],  # noqa: B006
    address: Addresses = [],  # noqa: B006
    expires: Expires = None,
    policy: PolicyName = None,
    limit: Limits = [],  # noqa: B006
    clear: Clear = [],  # noqa: B006
) -> Printed:
    """Change a key's scopes, addresses, expiry, policy or limits, from its next request on."""
    change = _change(name, scope, address, expires, policy, limit, clear)
    return await _printed(registry, await registry.keys.set(account, key, **change))


@command(keys_app, "rotate")
async def rotate(
    registry: Registry,
    account: AccountId,
    key: KeyId,
    overlap: Annotated[str, typer.Option(help="How long the old key stays valid, such as 72h.")] = "0",
) -> Printed:
    """Issue a key in the place of this one and print it, this once."""
    return _issued(await registry.keys.rotate(account, key, seconds(overlap, "overlap")))


@command(keys_app, "revoke")
async def revoke(registry: Registry, account: AccountId, key: KeyId) -> Printed:
    """Refuse a key for good, from the next request on."""
    return await _printed(registry, await registry.keys.revoke(account, key))


@command(keys_app, "tidy")
async def tidy(registry: Registry, account: AccountId, older_than: str = "90d") -> Printed:
    """Delete keys that were revoked or expired longer ago than this."""
    removed = await registry.keys.tidy(account, seconds(older_than, "age"))
    return Printed({"removed": removed}, ("removed",))


def _change(
    name: str | None, scope: list[str], address: list[str], expires: str | None, policy: str | None, limit: list[str], clear: list[str]
) -> KeyChange:
    cleared(clear, {"scopes", "addresses", "policy", "limits"})
    change: KeyChange = {}
    if name is not None:
        change["name"] = name
    if scope or "scopes" in clear:
        change["scopes"] = scope
    if address or "addresses" in clear:
        change["addresses"] = address
    if expires is not None:
        change["lifetime"] = seconds(expires, "expiry")
    if policy is not None or "policy" in clear:
        change["policy"] = policy
    if limit or "limits" in clear:
        change["limits"] = limit
    return change


def _issued(issued: Issued) -> Printed:
    note = "Keep it: it is not shown again. It is not stored, only its digest is."
    return Printed(issued_view(issued), ("key", *_DETAILS), aside=note)


async def _printed(registry: Registry, key: Key) -> Printed:
    return Printed(key_view(key, await registry.now_us()), _DETAILS)
