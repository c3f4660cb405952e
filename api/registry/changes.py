"""What each change makes of a record: pure functions of the record and of Redis's time."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable
from dataclasses import replace
from typing import TypedDict

from limiter.api.registry import checks
from limiter.api.registry.errors import Conflict
from limiter.api.registry.form import Environment
from limiter.api.registry.known import Known
from limiter.api.registry.records import Account, Key, State

TEST_LIFETIME = 7 * 86400.0
_ID_TAIL = 7


class AccountChange(TypedDict, total=False):
    """What is left out stays."""

    tier: str
    policy: str | None
    limits: Iterable[str]


class KeyChange(TypedDict, total=False):
    """What is left out stays. `lifetime` in seconds from now; None for no end."""

    name: str
    scopes: Iterable[str]
    addresses: Iterable[str]
    policy: str | None
    limits: Iterable[str]
    lifetime: float | None


def new_id(now_us: int) -> str:
    """In the order of creation: 13 digits of time, 7 at random for those of the same microsecond."""
    return f"{now_us:013x}{secrets.token_hex(4)[:_ID_TAIL]}"


def made_at(key_id: str) -> int:
    return int(key_id[:-_ID_TAIL], 16)


def changed_account(account: Account, change: AccountChange, known: Known) -> Account:
    tier = checks.plain_name(change["tier"], "tier") if "tier" in change else account.tier
    policy, limits = _limited(account, change)
    known.check(tier if "tier" in change else None, policy if "policy" in change else None)
    return replace(account, tier=tier, policy=policy, limits=limits)


def in_state(account: Account, state: State) -> Account:
    return replace(account, state=state)


def new_key(account: str, environment: str, change: KeyChange, known: Known, now_us: int) -> Key:
    """Still without a digest. Test keys end after 7 days, unless told."""
    key = Key(new_id(now_us), account, "", environment=checks.environment(environment), created_us=now_us)
    if change.get("lifetime") is None:
        change = {**change, "lifetime": default_lifetime(key.environment)}
    return changed_key(key, change, known, now_us)


def default_lifetime(environment: Environment) -> float | None:
    return TEST_LIFETIME if environment == "test" else None


def changed_key(key: Key, change: KeyChange, known: Known, now_us: int) -> Key:
    in_force(key)
    policy, limits = _limited(key, change)
    scopes = checks.scopes(change["scopes"]) if "scopes" in change else key.scopes
    known.check(policy=policy if "policy" in change else None, scopes=scopes if "scopes" in change else ())
    return replace(
        key,
        name=checks.key_name(change["name"]) if "name" in change else key.name,
        scopes=scopes,
        addresses=checks.addresses(change["addresses"]) if "addresses" in change else key.addresses,
        policy=policy,
        limits=limits,
        expires_us=_ending(now_us, change["lifetime"]) if "lifetime" in change else key.expires_us,
    )


def rotated(old: Key, overlap: float, now_us: int) -> tuple[Key, Key]:
    """What becomes of the old key, which ends after `overlap` seconds at the latest, and the new one, still without a digest."""
    if checks.seconds(overlap, "overlap") == math.inf:
        raise Conflict("an overlap without an end is no rotation: issue another key instead")
    if old.rotated_to:
        raise Conflict(f"key {old.id!r} of account {old.account!r} has been rotated, to {old.rotated_to!r}: rotate that one")
    in_force(old)
    if old.expires_us is not None and old.expires_us <= now_us:
        raise Conflict(f"key {old.id!r} of account {old.account!r} has expired: issue a new one")
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
    ends = now_us + int(overlap * 1_000_000)
    return replace(old, expires_us=ends if old.expires_us is None else min(ends, old.expires_us), rotated_to=new.id), new


def revoked(key: Key, now_us: int) -> Key:
    """The same where it is already: asking twice is no mistake."""
    return key if key.revoked_us is not None else replace(key, revoked_us=now_us)


def in_force(key: Key) -> None:
    if key.revoked_us is not None:
        raise Conflict(f"key {key.id!r} of account {key.account!r} is revoked, for good: issue a new one")


def _limited(record: Account | Key, change: AccountChange | KeyChange) -> tuple[str | None, tuple[str, ...]]:
    policy, limits = record.policy, record.limits
    if "policy" in change:
        policy = checks.plain_name(change["policy"], "policy") if change["policy"] else None
    if "limits" in change:
        limits = checks.limits(change["limits"])
    checks.either(policy, limits)
    return policy, limits


def _ending(now_us: int, lifetime: float | None) -> int | None:
    if lifetime is None or lifetime == math.inf:
        return None
    return now_us + int(checks.seconds(lifetime, "lifetime") * 1_000_000)
