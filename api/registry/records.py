"""The records of the registry, accounts and their keys, and their text form in Redis. Times are Redis's, in microseconds."""

import json
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Literal, TypeVar

from limiter.api.registry.key_format import Environment

State = Literal["active", "suspended"]

T = TypeVar("T")

# Fields that the text of a record omits: where the record is stored says them, or they are stored elsewhere.
STORED_APART = frozenset({"id", "account", "last_used_us"})


@dataclass(frozen=True, slots=True)
class Account:
    """A customer. Its tier's policy limits it, unless it has `limits` of its own or names another policy of the configuration."""

    id: str
    tier: str = ""
    state: State = "active"
    policy: str | None = None
    limits: tuple[str, ...] = ()
    created_us: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an account. The raw key is not stored, only its digest.

    A key without `scopes` may use only routes that need none; a key without `addresses` may be used from everywhere.
    """

    id: str
    account: str
    digest: str = field(repr=False)
    shown: str = ""
    name: str = ""
    environment: Environment = "live"
    scopes: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    policy: str | None = None
    limits: tuple[str, ...] = ()
    created_us: int = 0
    expires_us: int | None = None
    revoked_us: int | None = None
    # The id of the key that replaced this one, and of the key that a chain of rotations began with.
    rotated_to: str | None = None
    first: str | None = None
    last_used_us: int | None = None

    @property
    def subject(self) -> str:
        """The subject that is charged: the same for all keys of a chain of rotations, so that rotating does not reset any limit."""
        return self.first or self.id

    @property
    def pointer(self) -> str:
        """What the digest points at in Redis."""
        return f"{self.account} {self.id}"

    def ended_by(self, time_us: int) -> bool:
        ends = [each for each in (self.expires_us, self.revoked_us) if each is not None]
        return bool(ends) and min(ends) <= time_us

    def state(self, now_us: int) -> str:
        """For display: `active`, `rotated` (replaced, and still valid), `expired` or `revoked`."""
        if self.revoked_us is not None:
            return "revoked"
        if self.expires_us is not None and self.expires_us <= now_us:
            return "expired"
        return "rotated" if self.rotated_to else "active"


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key and, only here, its raw form."""

    raw: str = field(repr=False)
    key: Key


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list, and the cursor that continues it; "" after the last page."""

    items: tuple[T, ...]
    cursor: str = ""


def encode(record: Account | Key) -> str:
    """JSON of the fields that differ from their defaults, in the order of the fields: equal records have equal text."""
    stored = {
        each.name: getattr(record, each.name)
        for each in fields(record)
        if each.name not in STORED_APART and getattr(record, each.name) != each.default
    }
    return json.dumps(stored, ensure_ascii=False, separators=(",", ":"))


def decode_account(account: str, text: str) -> Account:
    return Account(account, **_decoded(text))


def decode_key(account: str, key: str, text: str, last_used: str = "") -> Key:
    return Key(key, account, last_used_us=int(last_used) if last_used else None, **_decoded(text))


def _decoded(text: str) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}
