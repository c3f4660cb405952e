"""What each change makes of a record: pure functions of the record and of Redis's time."""

import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, TypedDict

from limiter.api.registry import validation
from limiter.api.registry.records import Account, Key
from limiter.api.registry.registry_errors import Conflict
from limiter.api.registry.validation import Catalog

_TEST_LIFETIME_S = 7 * 86400.0
_RANDOM_DIGITS = 7


class AccountChange(TypedDict, total=False):
    """Fields that are not given keep their values."""

    tier: str
    policy: str | None
    limits: Iterable[str]


class KeyChange(TypedDict, total=False):
    """Fields that are not given keep their values. `lifetime` is in seconds from now; None means that the key does not expire."""

    name: str
    scopes: Iterable[str]
    addresses: Iterable[str]
    policy: str | None
    limits: Iterable[str]
    lifetime: float | None


def new_id(now_us: int) -> str:
    """Ids sort by time of creation: 13 digits of time, then 7 random ones for keys of the same microsecond."""
    return f"{now_us:013x}{secrets.token_hex(4)[:_RANDOM_DIGITS]}"


def created_at_us(key_id: str) -> int:
    return int(key_id[:-_RANDOM_DIGITS], 16)


def changed_account(account: Account, change: AccountChange, catalog: Catalog) -> Account:
    return replace(account, **_validated(account, change, catalog))


def new_key(account: str, environment: str, change: KeyChange, catalog: Catalog, now_us: int) -> Key:
    """A key without a digest yet. Test keys expire after 7 days by default."""
    key = Key(new_id(now_us), account, "", environment=validation.environment(environment), created_us=now_us)
    if change.get("lifetime") is None:
        change = {**change, "lifetime": _TEST_LIFETIME_S if key.environment == "test" else None}
    return changed_key(key, change, catalog, now_us)


def changed_key(key: Key, change: KeyChange, catalog: Catalog, now_us: int) -> Key:
    _check_not_revoked(key)
    values = _validated(key, change, catalog)
    if "lifetime" in values:
        values["expires_us"] = _expiry(now_us, values.pop("lifetime"))
    return replace(key, **values)


def rotated(old: Key, overlap: float, now_us: int) -> tuple[Key, Key]:
    """The old key, which ends within `overlap` seconds, and its replacement, without a digest yet."""
    if validation.seconds(overlap, "overlap") == math.inf:
        raise Conflict("overlap must be a finite duration, not infinite: to keep the old key permanently, issue another key instead")
    if old.rotated_to:
        raise Conflict(f"key {old.id!r} of account {old.account!r} has been rotated, to {old.rotated_to!r}: rotate that key instead")
    _check_not_revoked(old)
    if old.expires_us is not None and old.expires_us <= now_us:
        raise Conflict(f"key {old.id!r} of account {old.account!r} has expired: issue a new key")
    lifetime_us = None if old.expires_us is None else old.expires_us - old.created_us
    new = replace(
        old,
        id=new_id(now_us),
        digest="",
        shown="",
        created_us=now_us,
        expires_us=None if lifetime_us is None else now_us + lifetime_us,
        first=old.subject,
        last_used_us=None,
    )
    if overlap == 0:
        return replace(old, revoked_us=now_us, rotated_to=new.id), new
    ends_us = now_us + int(overlap * 1_000_000)
    return replace(old, expires_us=ends_us if old.expires_us is None else min(ends_us, old.expires_us), rotated_to=new.id), new


def revoked(key: Key, now_us: int) -> Key:
    """A revoked key stays as it is: revoking twice is not an error."""
    return key if key.revoked_us is not None else replace(key, revoked_us=now_us)


def _check_not_revoked(key: Key) -> None:
    if key.revoked_us is not None:
        raise Conflict(f"key {key.id!r} of account {key.account!r} is revoked permanently: issue a new key")


def _validated(record: Account | Key, change: AccountChange | KeyChange, catalog: Catalog) -> dict[str, Any]:
    values = {name: _VALIDATE[name](value) for name, value in change.items()}
    validation.either(values.get("policy", record.policy), values.get("limits", record.limits))
    catalog.check(values.get("tier"), values.get("policy"), values.get("scopes", ()))
    return values


def _expiry(now_us: int, lifetime: float | None) -> int | None:
    if lifetime is None or lifetime == math.inf:
        return None
    return now_us + int(validation.seconds(lifetime, "lifetime") * 1_000_000)


_VALIDATE: dict[str, Callable[[Any], Any]] = {
    "tier": partial(validation.plain_name, what="tier"),
    "policy": lambda policy: validation.plain_name(policy, "policy") if policy else None,
    "limits": validation.limits,
    "name": validation.key_name,
    "scopes": validation.scopes,
    "addresses": validation.addresses,
    "lifetime": lambda lifetime: lifetime,
}
