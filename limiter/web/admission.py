"""`Admission`: which rate limits apply to a request, and the one decision on all of them. Without I/O.

A framework's module describes a request by `Facts`, and runs the steps that `admit` and `Ruling.refund` yield: a Group is decided by the
limiter, an awaitable is awaited. `run` and `run_async` do that for both clients.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import lru_cache
from typing import Any, Generic, Protocol, TypedDict, TypeVar

from limiter.addresses import Networks, client_behind, normalize, parse_network, subject_of
from limiter.charge import Charge
from limiter.decision import Decision
from limiter.errors import InvalidPolicy, shown
from limiter.headers import Reset
from limiter.limits import Limit
from limiter.policy import Failure, Policy
from limiter.protocol.group import Group, grouped
from limiter.web.rate_limit import AccountOf, Asking, Of, RateLimit, as_key, matches, policy_of, subject_text, value_of
from limiter.web.ruling import Ruling

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

# A step is a Group, whose decision is sent back, or an awaitable of the application, whose result is.
Steps = Generator[Any, Any, T]

Declared = str | Limit | Policy | RateLimit[R] | Sequence[str | Limit | Policy | RateLimit[R]]

# The counts of an application have one account, so that limits on different subjects are decided together.
_ACCOUNT = "web"
# In `trusted_proxies`: the peer on a Unix socket, which has no address.
_UNIX = "unix:"
# Groups that are kept, for the clients that come back.
_REMEMBERED = 4096

_log = logging.getLogger("limiter.web")


class Options(TypedDict, Generic[R], total=False):
    """The options that all integrations have.

    `account`: the owner of all counts, `"web"` by default. Limits of one decision must have one account.
    `failure`: the failure mode of policies without one: `"open"` (default) admits while Redis is away, `"closed"` answers 503.
    `trusted_proxies`: networks whose X-Forwarded-For is believed, such as `["10.0.0.0/8"]`; `"unix:"` is the peer on a Unix socket.
    `exempt_paths`, `exempt_when`: requests without any limit.
    `enabled`: False switches everything off. `shadow`: True counts, but denies nothing.
    `headers`: False leaves the responses to admitted requests alone. `reset`: the format of X-RateLimit-Reset.
    `on_decision`: gets the request and each decision, for metrics.
    """

    account: AccountOf[R]
    failure: Failure
    trusted_proxies: Iterable[str]
    exempt_paths: Iterable[str]
    exempt_when: Of[R, bool]
    enabled: bool
    shadow: bool
    headers: bool
    reset: Reset
    on_decision: Callable[[R, Decision], None]


class Facts(Protocol[R_co]):
    """What is read of a request. `peer` is empty on a Unix socket; `forwarded_for` has all lines, joined by commas."""

    @property
    def request(self) -> R_co: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
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
    ) -> None:
        self.limits = declared(limits)
        self.enabled, self._prefix, self._account = enabled, prefix, account
        self._failure: Failure = failure
        self._shadow, self._shows = shadow, headers
        self._reset: Reset = reset
        self._outage = _Outage()
        self._exempt_paths, self._exempt_when, self._on_decision = tuple(exempt_paths), exempt_when, on_decision
        proxies = tuple(trusted_proxies)
        self._trusts = Networks(parse_network(text) for text in proxies if text != _UNIX).__contains__
        self._trusts_unix = _UNIX in proxies
        # By charges: an atomic decision on three policies takes 15 us to prepare.
        self._group_of = lru_cache(_REMEMBERED, typed=True)(self._make_group)

    def admit(self, facts: Facts[R], more: Sequence[RateLimit[R]] = (), *, defaults: bool = True) -> Steps[Ruling | None]:
        """Decide on the default limits and on those of the endpoint together. None if none applies."""
        if not self.enabled or (yield from self._is_exempt(facts)):
            return None
        limits: dict[tuple[Policy, str], tuple[RateLimit[R], int]] = {}
        for limit in (*self.limits, *more) if defaults else more:
            if limit.applies(facts.method, facts.path):
                charge = yield from self._charge(limit, facts)
                if charge is not None:
                    # A policy that is declared twice is charged once, at the cost of the endpoint.
                    limits[charge[:2]] = limit, charge[2]
        if not limits:
            return None
        account = subject_text((yield from value_of(self._account, facts.request if callable(self._account) else None)))
        group = self._group_of(tuple((*key, cost) for key, (_, cost) in limits.items()), account)
        decision: Decision = yield group
        self._outage.note(decision.degraded)
        if self._on_decision is not None:
            self._on_decision(facts.request, decision)
        return Ruling(decision, [limit for limit, _ in limits.values()], self._prefix, self._reset, shows=self._shows)

    def client_address(self, facts: Facts[Any]) -> str:
        """The rightmost address of X-Forwarded-For that is not a trusted proxy's, or the peer."""
        peer = normalize(facts.peer)
        forwarded_for = facts.forwarded_for if (self._trusts(peer) if peer else self._trusts_unix) else ""
        try:
            return client_behind(peer, forwarded_for, self._trusts) if forwarded_for else peer
        except ValueError:
            return peer

    def _is_exempt(self, facts: Facts[R]) -> Asking[bool]:
        if self._exempt_paths and matches(self._exempt_paths, facts.path):
            return True
        return bool(self._exempt_when and (yield from value_of(self._exempt_when, facts.request)))

    def _charge(self, limit: RateLimit[R], facts: Facts[R]) -> Asking[tuple[Policy, str, int] | None]:
        """Policy, subject and cost; None if the request is exempt from this limit."""
        if limit.exempt_when and (yield from value_of(limit.exempt_when, facts.request)):
            return None
        policy = limit.policy
        if callable(policy):
            policy = yield from value_of(policy, facts.request)
        subject: str | None
        if limit.subject is None:
            subject = subject_of(self.client_address(facts))
        else:
            subject = yield from value_of(limit.subject, facts.request if callable(limit.subject) else None)
        if policy is None or subject is None:
            return None
        cost = (yield from value_of(limit.cost, facts.request)) if callable(limit.cost) else limit.cost
        named = policy_of(as_key(policy), limit.name or "default", self._failure, shadow=self._shadow or limit.shadow)
        return named, subject_text(subject), cost

    def _make_group(self, charges: Sequence[tuple[Policy, str, int]], account: str) -> Group:
        return grouped(self._prefix, [Charge(*charge) for charge in charges], None, 1, account)


def declared(limits: Declared[R]) -> tuple[RateLimit[R], ...]:
    """Limits as text become one RateLimit, named `default` or by its first path."""
    listed = [limits] if isinstance(limits, str | Limit | Policy | RateLimit) else list(limits)
    texts = [limit for limit in listed if isinstance(limit, str | Limit)]
    found: list[RateLimit[R]] = [RateLimit(tuple(texts), name="default")] if texts else []
    for limit in listed:
        if isinstance(limit, RateLimit):
            found.append(limit.named(next(iter(limit.paths or ()), "default")))
        elif isinstance(limit, Policy):
            found.append(RateLimit(limit))
        elif not isinstance(limit, str | Limit):
            raise InvalidPolicy(f"limits must be text such as '100/minute', a Policy or a RateLimit, not {shown(limit)}")
    names = [limit.name for limit in found if limit.name]
    for name in names:
        if names.count(name) > 1:
            raise InvalidPolicy(f"limits must have different names, not {name!r} twice: set name=, as both would share a count")
    return tuple(found)


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
