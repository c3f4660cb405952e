"""Were the limits held? From outside: by when each request was sent, and when its answer had come.

A request was decided somewhere in between. So requests whose whole times lie within a window were surely decided within it, and as
many as these must never be above its capacity; and a denial is owed only if enough others may have been decided before it.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from limiter import SlidingWindow, TokenBucket

Checkable = SlidingWindow | TokenBucket

# An entry of a sliding window leaves with the last of those that share it (docs: at most 1/128 of the window late).
_LATE = 1 + 1 / 128
_ROUNDING = 1e-6


@dataclass(slots=True, eq=False)
class Request:
    """By one clock, in seconds. Status 0: no answer yet, or none that was understood."""

    sent: float
    received: float = math.inf
    status: int = 0


@dataclass(slots=True)
class Ledger:
    """All that was asked with one key."""

    limits: Sequence[Checkable]
    requests: list[Request] = field(default_factory=list)

    def ask(self, now: float) -> Request:
        request = Request(now)
        self.requests.append(request)
        return request

    @property
    def admitted(self) -> list[Request]:
        return [request for request in self.requests if request.status == 200]

    def owes(self, denied: Request) -> bool:
        """Whether a denial can be right: some limit may have been used up when it was decided."""
        perhaps = [request for request in self.requests if request.status != 429 and request is not denied]
        return any(_may_be_used_up(limit, perhaps, denied.sent) for limit in self.limits)

    def breaches(self, limits: Sequence[Checkable] | None = None) -> Iterator[str]:
        """What was admitted beyond the limits, or beyond others; one line for each limit."""
        for limit in limits or self.limits:
            found = _window_breach(limit, self.admitted) if isinstance(limit, SlidingWindow) else _bucket_breach(limit, self.admitted)
            if found:
                yield found


def _window_breach(limit: SlidingWindow, admitted: Sequence[Request]) -> str | None:
    """Every window that begins with a request is laid over all of them."""
    seconds = _window_seconds(limit)
    busiest = max((sum(_within(each, first.sent, seconds) for each in admitted) for first in admitted), default=0)
    return f"{busiest} were admitted within {seconds:g} s, and {limit.capacity} are the limit" if busiest > limit.capacity else None


def _within(request: Request, start: float, seconds: float) -> bool:
    return start <= request.sent and request.received < start + seconds


def _bucket_breach(limit: TokenBucket, admitted: Sequence[Request]) -> str | None:
    """Every span from a request to a later one: no more in it than the capacity and what was refilled meanwhile."""
    ends: list[float] = []
    for first in sorted(admitted, key=lambda request: request.sent, reverse=True):
        insort(ends, first.received)
        for number, end in enumerate(ends, 1):
            span = end - first.sent
            if number > limit.capacity + span * _rate(limit) + _ROUNDING:
                return f"{number} were admitted within {span:.3f} s, and {limit.capacity} with {_rate(limit):g} a second are the limit"
    return None


def _may_be_used_up(limit: Checkable, perhaps: Sequence[Request], at: float) -> bool:
    if isinstance(limit, SlidingWindow):
        since = at - _window_seconds(limit) * _LATE
        return sum(request.received > since for request in perhaps) >= limit.capacity
    ends = sorted((request.received for request in perhaps), reverse=True)
    return any(number + 1 > limit.capacity + max(0.0, at - end) * _rate(limit) for number, end in enumerate(ends, 1))


def _window_seconds(limit: SlidingWindow) -> float:
    return limit.arguments()[0] / 1_000_000


def _rate(limit: TokenBucket) -> float:
    """Units a second."""
    return limit.refill / float(limit.per)
