"""`limiter keys`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from limiter.api.cli.console import Printed, page, raw_key
from limiter.api.cli.options import AccountId, Count, Cursor, Limits, PolicyName, cleared, repeatable, seconds
from limiter.api.cli.registry_command import command
from limiter.api.registry import Issued, Key, Registry
from limiter.api.registry.changes import KeyChange
from limiter.api.registry.views import issued_view, key_view

keys_app = typer.Typer(help="Manage the API keys of accounts.", no_args_is_help=True)

_COLUMNS = ("id", "key_prefix", "name", "environment", "state", "scopes", "addresses", "created", "expires", "last_used")
_DETAILS = ("account", *_COLUMNS, "policy", "limits", "revoked", "rotated_to")

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, from `limiter keys list`.")]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="The new name.")]
Environment = Annotated[str, typer.Option("--env", help="live or test.")]
Digest = Annotated[str | None, typer.Option(help="SHA-256 of the key, in hexadecimal. Default: read the key from standard input.")]
Clear = Annotated[list[str], repeatable("--clear", "Remove a setting of the key: policy, limits, scopes or addresses.")]
Overlap = Annotated[str, typer.Option(help="How long the old key stays valid, such as 72h.")]
OlderThan = Annotated[str, typer.Option(help="How long ago the keys were revoked or expired, such as 90d.")]


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """The options that set the fields of a key."""

    scope: Annotated[list[str], repeatable("--scope", "A scope that the key has, such as asset:read.")]
    address: Annotated[list[str], repeatable("--address", "An address or network that may use the key, such as 203.0.113.0/24.")]
    limit: Limits
    name: Annotated[str | None, typer.Option(help="A name for people to recognize the key by.")] = None
    expires: Annotated[
        str | None, typer.Option(help="When the key expires: a duration from now such as 90d, or never. Default: never; for test keys, 7d.")
    ] = None
    policy: PolicyName = None

    def change(self, clear: Sequence[str] = ()) -> KeyChange:
        change: KeyChange = {}
        if self.name is not None:
            change["name"] = self.name
        if self.scope or "scopes" in clear:
            change["scopes"] = self.scope
        if self.address or "addresses" in clear:
            change["addresses"] = self.address
        if self.expires is not None:
            change["lifetime"] = seconds(self.expires, "expiry")
        if self.policy is not None or "policy" in clear:
            change["policy"] = self.policy
        if self.limit or "limits" in clear:
            change["limits"] = self.limit
        return change


@command(keys_app, "issue")
async def issue_key(registry: Registry, account: AccountId, options: KeyOptions, env: Environment = "live") -> Printed:
    """Issue a key and print it. The key is not shown again."""
    return _issued(await registry.keys.issue(account, env, **options.change()))


@command(keys_app, "import")
async def import_key(
    registry: Registry, account: AccountId, options: KeyOptions, digest: Digest = None, env: Environment = "live"
) -> Printed:
    """Import a key that was made elsewhere, from standard input or by its digest."""
    change = options.change()
    if digest is not None:
        return await _printed(registry, await registry.keys.adopt_digest(account, digest, env, **change))
    return await _printed(registry, await registry.keys.adopt(account, raw_key(), env, **change))


@command(keys_app, "list")
async def list_keys(registry: Registry, account: AccountId, cursor: Cursor = "", count: Count = 100) -> Printed:
    """List the keys of an account by creation time, one page at a time."""
    found, now_us = await registry.keys.list(account, cursor, count), await registry.now_us()
    view = {"keys": [key_view(each, now_us) for each in found.items], "cursor": found.cursor}
    empty = f"The account {account} has no keys yet. Issue one: limiter keys issue {account}"
    return page(view, "keys", _COLUMNS, empty=empty, cursor=cursor)


@command(keys_app, "show")
async def show_key(registry: Registry, account: AccountId, key: KeyId) -> Printed:
    """Show a key's record."""
    return await _printed(registry, await registry.keys.show(account, key))


@command(keys_app, "find")
async def find_key(registry: Registry) -> Printed:
    """Show the record of a key that is given on standard input."""
    return await _printed(registry, await registry.keys.find(raw_key()))


@command(keys_app, "rename")
async def rename_key(registry: Registry, account: AccountId, key: KeyId, name: NewName) -> Printed:
    """Rename a key."""
    return await _printed(registry, await registry.keys.set(account, key, name=name))


@command(keys_app, "set")
async def set_key(registry: Registry, account: AccountId, key: KeyId, options: KeyOptions, clear: Clear) -> Printed:
    """Change a key's name, scopes, addresses, expiry, policy or limits. The change applies from the next request on."""
    change = options.change(cleared(clear, {"scopes", "addresses", "policy", "limits"}))
    return await _printed(registry, await registry.keys.set(account, key, **change))


@command(keys_app, "rotate")
async def rotate_key(registry: Registry, account: AccountId, key: KeyId, overlap: Overlap = "0") -> Printed:
    """Replace a key by a new one and print it. The new key is not shown again."""
    return _issued(await registry.keys.rotate(account, key, seconds(overlap, "overlap")))


@command(keys_app, "revoke")
async def revoke_key(registry: Registry, account: AccountId, key: KeyId) -> Printed:
    """Refuse a key permanently, from the next request on."""
    return await _printed(registry, await registry.keys.revoke(account, key))


@command(keys_app, "tidy")
async def tidy_keys(registry: Registry, account: AccountId, older_than: OlderThan = "90d") -> Printed:
    """Delete the records of keys that were revoked or expired long ago."""
    removed = await registry.keys.tidy(account, seconds(older_than, "age"))
    return Printed({"removed": removed}, ("removed",))


def _issued(issued: Issued) -> Printed:
    note = "Store the key now: it is not shown again. The registry keeps only its digest."
    return Printed(issued_view(issued), ("key", *_DETAILS), note=note)


async def _printed(registry: Registry, key: Key) -> Printed:
    return Printed(key_view(key, await registry.now_us()), _DETAILS)
