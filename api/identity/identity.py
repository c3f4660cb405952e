"""An identity, and the judge: the one place that decides whether a key may be used for a request."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from limiter.addresses import Network, parse_address
from limiter.api.outgoing.caller_headers import ANONYMOUS, Caller
from limiter.api.registry import Lookup
from limiter.api.rules import Rules
from limiter.policy import Policy
from limiter.protocol.group import Guard

# Placeholder policy for identities that are always refused, because the policy of their key or account is not configured.
NO_POLICY = Policy("none", ["1/second"])

_MAX_ADMITTED = 64


@dataclass(slots=True, eq=False)
class Identity:
    """A key with its account and the policies of both.

    `scopes` are those that the key may use. A key without `networks` may be used from everywhere. `barred` is why every request is
    refused. With a `guard`, Redis refuses decisions once the account has changed.
    """

    subject: str
    account: str
    policy: Policy
    account_policy: Policy | None = None
    scopes: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    expires_us: int | None = None
    barred: Refusal | None = None
    guard: Guard | None = None
    # What upstream learns of it.
    caller: Caller = ANONYMOUS
    # Of a key of the registry: what was read, the rules under which it became this identity, and the SHA-256 of the raw key.
    source: Lookup | None = field(default=None, repr=False)
    rules: Rules | None = field(default=None, repr=False)
    sha256: bytes = field(default=b"", repr=False)
    # Addresses that are in the networks: checking one again saves 2 us. Bounded by _MAX_ADMITTED, dropped with the identity.
    admitted: AbstractSet[str] = field(default=frozenset(), repr=False)
    # The plans that the front has made for it, by cost and policy of the route; dropped with the identity.
    plans: dict[Any, Any] = field(default_factory=dict, repr=False)
    # The refusals of its requests, by reason and missing scope. Bounded by the scopes of the routes, dropped with the identity.
    refusals: dict[tuple[str, str | None], Refusal] = field(default_factory=dict, repr=False)

    def refusal(self, scope: str | None, address: str, now_us: int) -> Refusal | None:
        """The judge: why a request that needs `scope` and comes from `address` is refused. None if it may pass."""
        if self.expires_us is not None and self.expires_us <= now_us and self.barred is not REVOKED:
            return EXPIRED
        if self.barred is not None:
            return self.barred
        if self.networks and not self._admits(address):
            return WRONG_ADDRESS
        return None if scope is None or scope in self.scopes else missing_scope(scope)

    def _admits(self, address: str) -> bool:
        if address in self.admitted:
            return True
        found = parse_address(address)
        if found is None or not any(found in network for network in self.networks):
            return False
        self.admitted = {address} if len(self.admitted) >= _MAX_ADMITTED else {address, *self.admitted}
        return True


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused.

    `audit` is the reason in the registry's audit. An `attempt` is counted. `scope` is the missing one. `holder` is the identity of the key
    if the key is known.
    """

    status: int
    reason: str
    detail: str
    audit: str = ""
    attempt: bool = True
    scope: str | None = None
    holder: Identity | None = field(default=None, repr=False, compare=False)

    def __hash__(self) -> int:
        # 0.1 us instead of 0.4.
        return hash(self.audit)

    def of(self, holder: Identity) -> Refusal:
        """With the holder; the same object for the same holder: 0.1 us instead of 5."""
        key = self.reason, self.scope
        held = holder.refusals.get(key)
        if held is None:
            held = holder.refusals[key] = replace(self, holder=holder)
        return held


MISSING = Refusal(401, "no-credential", "This request needs an API key.", attempt=False)
MALFORMED = Refusal(401, "invalid-credential", "The API key is not valid.", "malformed")
# The same text, so that the response does not reveal whether a well-formed key exists.
UNKNOWN = replace(MALFORMED, audit="unknown")
REVOKED = Refusal(401, "revoked-key", "The API key was revoked.", "revoked")
EXPIRED = Refusal(401, "expired-key", "The API key has expired.", "expired")
SUSPENDED = Refusal(403, "account-suspended", "The account is suspended.", "suspended")
WRONG_ENVIRONMENT = Refusal(401, "wrong-environment", "The API key belongs to another environment.", "environment")
NOT_CONFIGURED = Refusal(403, "not-configured", "The tier or the policy of the account is not configured here.", "unconfigured")
WRONG_ADDRESS = Refusal(403, "address-not-allowed", "The API key may not be used from this address.", "address")


# Bounded by its size; never invalidated, as a refusal does not change. 0.1 us instead of 2.
@lru_cache(256)
def missing_scope(scope: str) -> Refusal:
    return Refusal(403, "missing-scope", f"The API key lacks the scope {scope!r}.", "scope", scope=scope)


def reason_to_bar(*, revoked: bool, suspended: bool, elsewhere: bool = False, configured: bool = True) -> Refusal | None:
    """The first reason that applies, of those that do not depend on the request."""
    if revoked:
        return REVOKED
    if suspended:
        return SUSPENDED
    if elsewhere:
        return WRONG_ENVIRONMENT
    return None if configured else NOT_CONFIGURED
