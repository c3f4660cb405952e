"""When a key sends, in relation to its limits.

    steady   at 80 % of the limits: never denied
    burst    every 2 seconds far more at once than the limits allow
    mixed    every second key steady, the others in bursts
    ramp     from nothing to twice the limits at the end of --run-time
    edge     all of a window's units just before the end of a minute (or of another window), and all again just after it; then ends
    soak     at 90 % of the limits, with a burst every 5 minutes: for hours

Several users may share a key: each sends its share.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from limiter import Quota, SlidingWindow
from limiter.limits import Limit

# When, by the clock, and how many at once.
Volley = tuple[float, int]

_SOAK_BURST_EVERY = 300.0
# A burst has so many more than the smallest limit admits at once, but is not too large to be sent in a second.
_OVER, _MOST_AT_ONCE = 20, 1000
_BURST_EVERY = 2.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """The traffic of one user. `sharers` users share its key; `place` is the key's position in the list of keys."""

    limits: Sequence[Limit]
    start: float
    run_time: float | None
    sharers: int = 1
    place: int = 0

    @property
    def rate(self) -> float:
        """Requests a second that the limits admit throughout the test, for this user. A short test can use up a long window."""
        return min(_rate(limit, self.run_time or math.inf) for limit in self.limits) / self.sharers

    @property
    def burst(self) -> int:
        """More than the limits admit at once, and twice what they admit in the long run."""
        smallest = min(limit.capacity for limit in self.limits)
        at_once = min(2 * smallest, smallest + _OVER, _MOST_AT_ONCE)
        return math.ceil(max(at_once / self.sharers, 2 * self.rate * _BURST_EVERY))


def _rate(limit: Limit, run_time: float) -> float:
    if isinstance(limit, SlidingWindow | Quota):
        return limit.capacity / min(limit.seconds, run_time)
    return limit.refill / float(limit.per)


def edge_window(limits: Sequence[Limit]) -> SlidingWindow | None:
    """The window at whose edge bursts are sent: the shortest."""
    return min((limit for limit in limits if isinstance(limit, SlidingWindow)), key=lambda limit: limit.arguments(), default=None)


def edge_seconds(limits: Sequence[Limit]) -> float:
    """The run time in which an edge certainly passes: up to a window until the first request, and the shape itself."""
    window = edge_window(limits)
    return 2.6 * window.arguments()[0] / 1_000_000 if window else 0.0


def _steady(traffic: Traffic, load: float = 0.8) -> Iterator[Volley]:
    pause = 1 / (load * traffic.rate)
    at = traffic.start + random.random() * min(pause, 1.0)
    while True:
        yield at, 1
        at += pause


def _burst(traffic: Traffic) -> Iterator[Volley]:
    at = traffic.start + random.random() * _BURST_EVERY
    while True:
        yield at, traffic.burst
        at += _BURST_EVERY


def _mixed(traffic: Traffic) -> Iterator[Volley]:
    return _steady(traffic) if traffic.place % 2 else _burst(traffic)


def _ramp(traffic: Traffic) -> Iterator[Volley]:
    """The n-th request is sent when the integral of the rate reaches n."""
    run_time = traffic.run_time or 1.0
    number = random.random()
    while True:
        yield traffic.start + math.sqrt(number * run_time / traffic.rate), 1
        number += 1


def _edge(traffic: Traffic) -> Iterator[Volley]:
    """Meets windows that begin by the clock, and windows that begin with a client's first request: both end at the same time."""
    window = edge_window(traffic.limits)
    assert window
    seconds, count = window.arguments()[0] / 1_000_000, math.ceil(window.capacity / traffic.sharers)
    begin = math.ceil(traffic.start / seconds) * seconds
    # Time to send the first burst in. The second one comes after the end of a window that began with the response to the first request.
    lead, margin = min(max(seconds / 20, count / 200), seconds / 3), min(max(seconds / 40, 0.3), seconds / 4)
    yield begin + margin / 10, 1
    yield begin + seconds - lead, count
    yield begin + seconds + margin, count
    # Once more, because a slow server may have begun the first window late.
    yield begin + seconds + 3 * margin, count
    yield begin + 1.5 * seconds, 1


def _soak(traffic: Traffic) -> Iterator[Volley]:
    next_burst = traffic.start + _SOAK_BURST_EVERY * (0.5 + random.random())
    for at, count in _steady(traffic, 0.9):
        if at < next_burst:
            yield at, count
        else:
            yield at, traffic.burst
            next_burst += _SOAK_BURST_EVERY


_VOLLEYS: dict[str, Callable[[Traffic], Iterator[Volley]]] = {
    "mixed": _mixed,
    "steady": _steady,
    "burst": _burst,
    "ramp": _ramp,
    "edge": _edge,
    "soak": _soak,
}
SHAPES = tuple(_VOLLEYS)


def volleys(shape: str, traffic: Traffic) -> Iterator[Volley]:
    return _VOLLEYS[shape](traffic)
