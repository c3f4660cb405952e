"""What an application declares once: its default limits, and the options that all integrations share."""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypedDict, TypeVar

from limiter.decision import Decision
from limiter.errors import InvalidPolicy, shown
from limiter.headers import Reset
from limiter.limits import Limit
from limiter.policy import Failure, Policy
from limiter.web.core.rate_limit import AccountOf, Of, RateLimit

R = TypeVar("R")

Declared = str | Limit | Policy | RateLimit[R] | Sequence[str | Limit | Policy | RateLimit[R]]


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
