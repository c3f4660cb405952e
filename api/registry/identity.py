"""Who calls, as far as the registry can tell; or why they are not let in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from limiter.api.registry.records import Account, Key
from limiter.protocol.group import Guard


@dataclass(frozen=True, slots=True)
class Identity:
    """A key with its account, and the guard that refuses a take once either has changed.

    `memo` is for what the front works out of them once, such as charges; it goes when they are read afresh.
    """

    key: Key
    account: Account
    guard: Guard
    read_us: int = field(compare=False)
    # SHA-256 of the raw key, by which a directory remembers it; not to be stored or told.
    sha256: bytes = field(default=b"", repr=False, compare=False)
    memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)


class Refusal(Enum):
    """Why, and with which status."""

    MALFORMED = "malformed", 401
    UNKNOWN = "unknown", 401
    REVOKED = "revoked", 401
    EXPIRED = "expired", 401
    SUSPENDED = "suspended", 403
    ADDRESS = "address", 403
    SCOPE = "scope", 403
    # By what the front is configured to, as the record alone does not tell.
    ENVIRONMENT = "environment", 401
    UNCONFIGURED = "unconfigured", 403

    def __init__(self, reason: str, status: int) -> None:
        self.reason, self.status = reason, status


@dataclass(frozen=True, slots=True)
class Refused:
    """`identity` is None where no record was found."""

    refusal: Refusal
    identity: Identity | None = None


def judge(identity: Identity, now_us: int, scope: str = "", address: str = "") -> Refusal | None:
    """Why not, at `now_us`, from `address` and for what needs `scope`; None lets in. Where several apply, the first of these is told."""
    key = identity.key
    if key.revoked_us is not None:
        return Refusal.REVOKED
    if key.expires_us is not None and key.expires_us <= now_us:
        return Refusal.EXPIRED
    if identity.account.state != "active":
        return Refusal.SUSPENDED
    if key.addresses and not key.allows_address(address):
        return Refusal.ADDRESS
    return None if key.allows_scope(scope) else Refusal.SCOPE
