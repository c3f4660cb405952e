"""The rules in force, compiled from the configuration: all that the data plane needs to know, and nothing to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from limiter.addresses import Network, Networks
from limiter.api.routes.matching import Route, Routes
from limiter.headers import Reset
from limiter.policy import Policy

__all__ = ["Account", "Route", "Rules", "StaticKey", "Tier"]

NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Tier:
    """What a key of an account in this tier is held to, and the account as a whole, in the same decision.

    `scopes`: the most that a key of this tier may do, whatever scopes it holds; None: no such bound.
    """

    name: str
    key: Policy
    account: Policy | None = None
    scopes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the file. Its `policy` takes the place of its tier's."""

    name: str
    tier: Tier | None = None
    state: Literal["active", "suspended"] = "active"
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class StaticKey:
    """A key of the file. `digest` is hexadecimal; of the HMAC with the pepper where `peppered`. No `addresses`: from anywhere."""

    name: str
    digest: str
    account: str
    tier: Tier
    scopes: frozenset[str] = frozenset()
    addresses: tuple[Network, ...] = ()
    expires: float | None = None
    policy: Policy | None = None
    state: Literal["active", "revoked"] = "active"
    peppered: bool = False

    def may(self, scope: str) -> bool:
        """Whether the key holds the scope and its tier lets it."""
        return scope in self.scopes and (self.tier.scopes is None or scope in self.tier.scopes)


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """Everything of a file, by name. `digest` tells one file's content from another's; `warnings` are for a person to read."""

    policies: Mapping[str, Policy]
    tiers: Mapping[str, Tier] = field(default_factory=lambda: NONE)
    order: tuple[str, ...] = ("bearer", "x-api-key")
    anonymous: Policy | None = None
    guard: Policy | None = None
    trusted_proxies: Networks = field(default_factory=Networks)
    routes: Routes = field(default_factory=Routes)
    keys: Mapping[str, StaticKey] = field(default_factory=lambda: NONE)
    accounts: Mapping[str, Account] = field(default_factory=lambda: NONE)
    reset: Reset = "delta"
    retry_after_ms: bool = False
    should_retry: bool = False
    deny_status: Literal[429, 403] = 429
    redis_url: str | None = field(default=None, repr=False)
    prefix: str = "lim"
    deadline: float = 0.05
    key_prefix: str = "ff"
    environments: frozenset[str] = frozenset({"live", "test"})
    require_tls: bool = False
    # All that the file speaks of.
    scopes: frozenset[str] = frozenset()
    digest: str = ""
    warnings: tuple[str, ...] = ()

    def trusts(self, ip: str) -> bool:
        """Whether the peer at this address is believed about whom it speaks for."""
        return ip in self.trusted_proxies

    def route(self, method: str, path: str) -> Route:
        """The first route that matches a path as it stands on the wire; one of cost 1 where none does."""
        return self.routes.find(method, path)
