"""The rules in force, compiled from the configuration file: everything that the data plane needs, and immutable."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from limiter.addresses import Network, Networks
from limiter.api.forwarded import NO_GATEWAY, Gateway
from limiter.api.outgoing.caller_headers import CallerHeaders
from limiter.api.outgoing.cors import Cors
from limiter.api.registry.validation import Catalog
from limiter.api.routes.matching import Route, Routes
from limiter.headers import Reset
from limiter.policy import Failure, Policy


def default_guard(failure: Failure = "open") -> Policy:
    """The guard of a file that names none. The dot keeps its counts apart from those of the policies of most files."""
    return Policy("identify.guard", ["100/minute"], failure=failure)


def default_preflight_guard(failure: Failure = "open") -> Policy:
    """The guard of preflights of a file that names none."""
    return Policy("cors.guard", ["600/minute"], failure=failure)


# Who may call the decision API. `callers/v1_callers.py` says what each one means.
V1 = Literal["loopback", "trusted", "token", "off"]


@dataclass(frozen=True, slots=True)
class Tier:
    """The policies of a key and of its account, which are applied in the same decision.

    `scopes` are the most that a key of this tier may use, whatever scopes it has. None: no such bound.
    """

    name: str
    key: Policy
    account: Policy | None = None
    scopes: frozenset[str] | None = None

    def allowed(self, scopes: Iterable[str]) -> frozenset[str]:
        return frozenset(scopes) if self.scopes is None else self.scopes.intersection(scopes)


@dataclass(frozen=True, slots=True)
class FileAccount:
    """An account of the configuration file. Its `policy` replaces that of the tier."""

    name: str
    tier: Tier | None = None
    state: Literal["active", "suspended"] = "active"
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class FileKey:
    """A key of the configuration file.

    `digest` is hexadecimal; if `peppered`, it is the HMAC made with the pepper. `expires` is in seconds since 1970. A key without
    `addresses` may be used from everywhere.
    """

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


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """What clients may make each process hold: connections, in all and of one peer, and the seconds that one may wait for its client.

    `head` is for a head to arrive, and for the first byte of a connection; `body` and `answer` for the next part of a body or of an unread
    answer to pass; `idle` for the next request.
    """

    most: int = 4096
    per_peer: int = 512
    head: float = 15.0
    body: float = 30.0
    answer: float = 30.0
    # Longer than gateways keep idle connections (60 s by default): if the server closed one first, a request could be lost.
    idle: float = 75.0
    # Bytes of requests and answers that all connections hold together.
    held: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class UpstreamTimeouts:
    """How many seconds the proxy waits for the upstream: to connect, for the head of a response, and for the next part of its body."""

    connect: float = 5.0
    head: float = 60.0
    body: float = 60.0


@dataclass(frozen=True, slots=True)
class Shutdown:
    """How many seconds a stopping sidecar goes on accepting connections, and how many the requests in flight have after that."""

    delay: float = 0.0
    drain: float = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """The contents of a file, by name. `digest` identifies them; `warnings` are for people to read. `keys` are by digest."""

    policies: Mapping[str, Policy]
    tiers: Mapping[str, Tier] = field(default_factory=dict)
    order: tuple[str, ...] = ("bearer", "x-api-key")
    anonymous: Policy | None = None
    gateway: Gateway = NO_GATEWAY
    guard: Policy = field(default_factory=default_guard)
    trusted_proxies: Networks = field(default_factory=Networks)
    routes: Routes = field(default_factory=Routes)
    keys: Mapping[str, FileKey] = field(default_factory=dict)
    accounts: Mapping[str, FileAccount] = field(default_factory=dict)
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
    v1: V1 = "loopback"
    connections: ConnectionBounds = field(default_factory=ConnectionBounds)
    upstream: UpstreamTimeouts = field(default_factory=UpstreamTimeouts)
    shutdown: Shutdown = field(default_factory=Shutdown)
    cors: Cors | None = None
    caller_headers: CallerHeaders | None = None
    # All scopes that routes, tiers and keys of the file name.
    scopes: frozenset[str] = frozenset()
    digest: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def countable(self) -> Mapping[str, Policy]:
        """The policies by name, with the guard of a file that names none."""
        return {self.guard.name: self.guard, **self.policies}

    def trusts(self, ip: str) -> bool:
        """Whether the peer at this address may state the address of its client."""
        return ip in self.trusted_proxies

    def route(self, method: str, path: str) -> Route:
        """The first route that matches a path as sent by the client; a route of cost 1 if none does. Raises RefusedPath."""
        return self.routes.find(method, path)

    @property
    def catalog(self) -> Catalog:
        """The names that accounts and keys of the registry may use. If the file names no scopes, any scope may be used."""
        return Catalog(frozenset(self.tiers), frozenset(self.policies), self.scopes or None)
