"""What stands in the registry: accounts and their keys. Times are Redis's, in microseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, Literal, TypeVar

from limiter.addresses import Network, parse_address, parse_network
from limiter.api.registry.form import Environment
from limiter.policy import Failure, Policy

State = Literal["active", "suspended"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant. It is limited by its tier's policy, by another of the configuration's (`policy`), or by `limits` of its own."""

    id: str
    tier: str = ""
    state: State = "active"
    policy: str | None = None
    limits: tuple[str, ...] = ()
    created_us: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an account, as far as it is known: by its digest. `id` tells it apart from the account's others.

    Nothing in `scopes` allows only what needs none; nothing in `addresses` allows all of them.
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
    # The key that took this one's place, and the first of the row of keys that this one stands in.
    rotated_to: str | None = None
    first: str | None = None
    last_used_us: int | None = None

    @property
    def subject(self) -> str:
        """Whom to charge: the same for a key and all that it is rotated to, so that a rotation does not give fresh limits."""
        return self.first or self.id

    def allows_scope(self, scope: str) -> bool:
        return not scope or scope in self.scopes

    def allows_address(self, address: str) -> bool:
        """Whether `address` (IPv4, IPv6, or IPv4 mapped into it) is in one of the key's networks."""
        return not self.addresses or _is_in(address, self.addresses)

    def ended_by(self, time_us: int) -> bool:
        ends = [each for each in (self.expires_us, self.revoked_us) if each is not None]
        return bool(ends) and min(ends) <= time_us

    def state(self, now_us: int) -> str:
        """For people: `active`, `rotated` (and still valid), `expired` or `revoked`."""
        if self.revoked_us is not None:
            return "revoked"
        if self.expires_us is not None and self.expires_us <= now_us:
            return "expired"
        return "rotated" if self.rotated_to else "active"


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key; `raw` is to be had here and never again."""

    raw: str = field(repr=False)
    key: Key


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, and the cursor to go on with; "" when that was the last."""

    items: tuple[T, ...]
    cursor: str = ""


@lru_cache(4096)
def own_policy(limits: tuple[str, ...], failure: Failure | None = None, name: str = "own") -> Policy:
    """The policy that `limits` of an account or key mean: its counts are kept when the numbers change."""
    return Policy(name, limits, failure=failure)


@lru_cache(4096)
def networks(addresses: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(parse_network(address) for address in addresses)


@lru_cache(4096)
def _is_in(address: str, addresses: tuple[str, ...]) -> bool:
    found = parse_address(address)
    return found is not None and any(found in network for network in networks(addresses))
