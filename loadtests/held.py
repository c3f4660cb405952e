"""Checks from outside whether limits were held, by the times at which each request was sent and its response received.

A request was decided at some moment between the two. Requests that were sent and answered within a window were certainly decided within
it, so there must never be more of them than its capacity. A denial is justified only if enough other requests may have been decided
before it.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from limiter import SlidingWindow, TokenBucket

Checkable = SlidingWindow | TokenBucket

# Admissions that share an entry of a sliding window leave with the last of them, at most 1/128 of the window late.
_LATE = 1 + 1 / 128
_ROUNDING = 1e-6


@dataclass(slots=True, eq=False)
class Request:
    """Times of one clock, in seconds. Status 0: no valid response yet."""

    sent: float
    received: float = math.inf
    status: int = 0


@dataclass(slots=True)
class Ledger:
    """All requests of one key."""

    limits: Sequence[Checkable]
    requests: list[Request] = field(default_factory=list)

    def add(self, now: float) -> Request:
        request = Request(now)
        self.requests.append(request)
        return request

    @property
    def admitted(self) -> list[Request]:
        return [request for request in self.requests if request.status == 200]

    def justifies(self, denied: Request) -> bool:
        """Whether the denial can be correct: some limit may have been exhausted when it was decided."""
        perhaps = [request for request in self.requests if request.status != 429 and request is not denied]
        return any(_may_be_exhausted(limit, perhaps, denied.sent) for limit in self.limits)

    def breaches(self, limits: Sequence[Checkable] | None = None) -> Iterator[str]:
        """One line for each limit that was exceeded, of the ledger's limits or of those given."""
        for limit in limits or self.limits:
            found = _window_breach(limit, self.admitted) if isinstance(limit, SlidingWindow) else _bucket_breach(limit, self.admitted)
            if found:
                yield found


def _window_breach(limit: SlidingWindow, admitted: Sequence[Request]) -> str | None:
    """Counts the requests in every window that starts with one."""
    seconds = _window_seconds(limit)
    busiest = max((sum(_within(each, first.sent, seconds) for each in admitted) for first in admitted), default=0)
    return f"{busiest} admitted within {seconds:g} s, above the limit of {limit.capacity}" if busiest > limit.capacity else None


def _within(request: Request, start: float, seconds: float) -> bool:
    return start <= request.sent and request.received < start + seconds


def _bucket_breach(limit: TokenBucket, admitted: Sequence[Request]) -> str | None:
    """Checks every span from a request to a later one: it holds at most the capacity and the refill during the span."""
    ends: list[float] = []
    for first in sorted(admitted, key=lambda request: request.sent, reverse=True):
        insort(ends, first.received)
        for number, end in enumerate(ends, 1):
            span = end - first.sent
            if number > limit.capacity + span * _rate(limit) + _ROUNDING:
                return f"{number} admitted within {span:.3f} s, above the limit of {limit.capacity} and {_rate(limit):g} a second"
    return None


def _may_be_exhausted(limit: Checkable, perhaps: Sequence[Request], at: float) -> bool:
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
