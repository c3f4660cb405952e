"""`Admission`: which rate limits apply to a request, and the one decision on all of them. Without I/O.

A framework's module describes a request by `Facts`, and runs the steps that `admit` and `Ruling.refund` yield: a Group is decided by the
limiter, an awaitable is awaited. `run` and `run_async` do that for both clients.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

from limiter.addresses import Networks, canonical, client_behind, parse_network, subject_of
from limiter.charge import Charge
from limiter.decision import Decision
from limiter.errors import InvalidPolicy
from limiter.headers import Reset
from limiter.policy import Failure, Policy
from limiter.protocol.group import grouped
from limiter.web.core.declaration import Declared, Options, declared
from limiter.web.core.header_fields import fields_of
from limiter.web.core.rate_limit import AccountOf, Asking, Of, RateLimit, as_key, matches, policy_of, short_text, subject_text, value_of
from limiter.web.core.ruling import Bill, Rendering, Ruling

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

# A step is a Group, whose decision is sent back, or an awaitable of the application, whose result is.
Steps = Generator[Any, Any, T]

# The counts of an application have one account, so that limits on different subjects are decided together.
_ACCOUNT = "web"
# In `trusted_proxies`: the peer on a Unix socket, which has no address.
_UNIX = "unix:"
# Bills that are kept, for the clients that come back. To make one for three policies takes 15 us.
_REMEMBERED = 4096

_FOR_ONE = 'an option of one limit belongs into RateLimit("100/minute", subject=...); docs/frameworks.md lists all options'

_log = logging.getLogger("limiter.web")

__all__ = ["Admission", "Declared", "Facts", "Options", "Steps"]


class Facts(Protocol[R_co]):
    """What is read of a request. `peer` is empty on a Unix socket; `forwarded_for` has all lines, joined by commas.

    `paths`: the path, and if a client can write it with and without the prefix of the application, both.
    """

    @property
    def request(self) -> R_co: ...
    @property
    def method(self) -> str: ...
    @property
    def paths(self) -> Sequence[str]: ...
    @property
    def peer(self) -> str: ...
    @property
    def forwarded_for(self) -> str: ...


class Admission(Generic[R]):
    """The default limits of an application, and its options. `prefix` is that of the limiter."""

    def __init__(
        self,
        limits: Declared[R] = (),
        *,
        prefix: str,
        account: AccountOf[R] = _ACCOUNT,
        failure: Failure = "open",
        trusted_proxies: Iterable[str] = (),
        exempt_paths: Iterable[str] = (),
        exempt_when: Of[R, bool] | None = None,
        enabled: bool = True,
        shadow: bool = False,
        headers: bool = True,
        reset: Reset = "delta",
        on_decision: Callable[[R, Decision], None] | None = None,
        **unknown: object,
    ) -> None:
        if unknown:
            raise InvalidPolicy(f"unknown option {', '.join(unknown)}: {_FOR_ONE}")
        self.limits = declared(limits)
        self.enabled, self._account = enabled, account
        self._failure: Failure = failure
        self._shadow, self._rendering = shadow, Rendering(prefix, reset, headers)
        self._outage = _Outage()
        self._exempt_paths, self._exempt_when, self._on_decision = tuple(exempt_paths), exempt_when, on_decision
        self._proxies = _Proxies(trusted_proxies)
        self._policy_of = lru_cache(_REMEMBERED)(self._constant_policy)
        self._bill_for = lru_cache(_REMEMBERED, typed=True)(self._make_bill)
        # Nothing but the address of the client matters for the default limits.
        is_plain = not (callable(account) or exempt_when or self._exempt_paths) and all(limit.is_plain for limit in self.limits)
        self._bill_at = lru_cache(_REMEMBERED)(self._bill_by_address) if is_plain and self.limits else None

    def admit(self, facts: Facts[R], more: Sequence[RateLimit[R]] = (), *, defaults: bool = True) -> Steps[Ruling | None]:
        """Decide on the default limits and on those of the endpoint together. None if none applies."""
        bill = yield from self.bill(facts, more, defaults=defaults)
        return self.rule(facts, bill, (yield bill.group)) if bill else None

    def admit_more(self, facts: Facts[R], earlier: Ruling | None, limits: Sequence[RateLimit[R]]) -> Steps[Ruling | None]:
        """A second decision, by the endpoint. If it denies, what was charged before is given back. Returns the ruling on both."""
        ruling = yield from self.admit(facts, limits, defaults=False)
        if ruling is None or earlier is None:
            return ruling or earlier
        if not ruling.is_allowed:
            yield from earlier.refund(None)
        return ruling.after(earlier)

    def bill_at_once(self, facts: Facts[R]) -> Bill | None:
        """The bill by the default limits, if they depend on nothing but the client's address. None: ask `bill`."""
        return self._bill_at(self.client_address(facts)) if self._bill_at else None

    def bill(self, facts: Facts[R], more: Sequence[RateLimit[R]] = (), *, defaults: bool = True) -> Asking[Bill | None]:
        """What the request is charged. None if no limit applies."""
        if not self.enabled or matches(self._exempt_paths, facts.paths):
            return None
        if self._exempt_when and (yield from value_of(self._exempt_when, facts.request)):
            return None
        charges: list[tuple[RateLimit[R], Policy, str, int]] = []
        for limit in (*self.limits, *more) if defaults else more:
            if limit.is_unselective or limit.applies(facts.method, facts.paths):
                charge = yield from self._charge(limit, facts)
                if charge is not None:
                    charges.append(charge)
        if not charges:
            return None
        account = short_text((yield from value_of(self._account, facts.request))) if callable(self._account) else self._account
        try:
            return self._bill_for(tuple(charges), account)
        except TypeError:
            # A value cannot be hashed, so it is not valid either. The check says why.
            return self._make_bill(charges, account)

    def rule(self, facts: Facts[R], bill: Bill, decision: Decision) -> Ruling:
        self._outage.note(decision.degraded)
        if self._on_decision is not None:
            self._on_decision(facts.request, decision)
        return Ruling(decision, bill, self._rendering)

    def client_address(self, facts: Facts[Any]) -> str:
        """The rightmost address of X-Forwarded-For that is not a trusted proxy's, or the peer."""
        return self._proxies.client_of(facts)

    def _charge(self, limit: RateLimit[R], facts: Facts[R]) -> Asking[tuple[RateLimit[R], Policy, str, int] | None]:
        """Policy, subject and cost; None if the request is exempt from this limit."""
        if limit.exempt_when and (yield from value_of(limit.exempt_when, facts.request)):
            return None
        if callable(limit.policy):
            found = yield from value_of(limit.policy, facts.request)
            policy = None if found is None else self._named(limit, as_key(found))
        else:
            policy = self._policy_of(limit)
        if limit.subject is None:
            subject: str | None = subject_of(self.client_address(facts))
        else:
            subject = short_text((yield from value_of(limit.subject, facts.request))) if callable(limit.subject) else limit.subject
        if policy is None or subject is None:
            return None
        cost = (yield from value_of(limit.cost, facts.request)) if callable(limit.cost) else limit.cost
        return limit, policy, subject, cost

    def _named(self, limit: RateLimit[R], policy: Any) -> Policy:
        return policy_of(policy, limit.name or "default", self._failure, shadow=self._shadow or limit.shadow)

    def _constant_policy(self, limit: RateLimit[R]) -> Policy:
        return self._named(limit, limit.policy)

    def _bill_by_address(self, address: str) -> Bill:
        subject = subject_of(address)
        charges = [(limit, self._policy_of(limit), limit.subject or subject, limit.cost) for limit in self.limits]
        return self._make_bill(charges, self._account)

    def _make_bill(self, charges: Iterable[tuple[RateLimit[R], Policy, Any, Any]], account: Any) -> Bill:
        # A policy that is declared twice is charged once, at the cost of the endpoint, which is the last.
        limits = {(policy, subject_text(subject)): (limit, cost) for limit, policy, subject, cost in charges}
        made = [Charge(policy, subject, cost) for (policy, subject), (_, cost) in limits.items()]
        group = grouped(self._rendering.prefix, made, None, 1, subject_text(account))
        behind = tuple(limit for limit, _ in limits.values())
        fields = fields_of(tuple(charge.policy for charge in made))
        return Bill(group, behind, any(limit.refund_when for limit in behind), fields)


class _Proxies:
    """The proxies whose X-Forwarded-For is believed."""

    def __init__(self, listed: Iterable[str]) -> None:
        texts = tuple(listed)
        self._trusts = Networks(parse_network(text) for text in texts if text != _UNIX).__contains__
        self._trusts_unix = _UNIX in texts
        self._are_none = not texts

    def client_of(self, facts: Facts[Any]) -> str:
        # Servers that believe X-Forwarded-For put any text here, so `normalize` would keep it in its cache.
        peer = canonical(facts.peer) or facts.peer
        if self._are_none or not (self._trusts(peer) if peer else self._trusts_unix):
            return peer
        forwarded_for = facts.forwarded_for
        try:
            return client_behind(peer, forwarded_for, self._trusts) if forwarded_for else peer
        except ValueError:
            return peer


class _Outage:
    """Logs the start and the end of an outage of Redis. A line for each request would fill the disk."""

    def __init__(self) -> None:
        self._reason = ""

    def note(self, reason: str) -> None:
        if bool(reason) != bool(self._reason):
            if reason:
                _log.warning("Redis does not answer: requests follow the failure modes of their policies: %s", reason)
            else:
                _log.info("Redis answers again")
            self._reason = reason
