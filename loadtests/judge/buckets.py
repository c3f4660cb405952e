"""Judges a token bucket."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from judge.requests import DRIFT, Breach, Curve, Request
from limiter import TokenBucket

_ROUNDING = 1e-6


class Level:
    """The units in a bucket from which one unit was taken at each of the given times. Below zero, more was taken than it held."""

    def __init__(self, capacity: int, rate: float, taken: Iterable[float]) -> None:
        self._capacity, self._rate = capacity, rate
        self._times = sorted(taken)
        self._levels: list[float] = []
        level, last = float(capacity), 0.0
        for at in self._times:
            level = min(capacity, level + (at - last) * rate) - 1
            self._levels.append(level)
            last = at

    def at(self, time: float) -> float:
        """After what was taken up to this time, inclusive."""
        taken = bisect_right(self._times, time)
        if not taken:
            return float(self._capacity)
        return min(float(self._capacity), self._levels[taken - 1] + (time - self._times[taken - 1]) * self._rate)

    def curve(self) -> Curve:
        """The units missing from a full bucket."""
        points: Curve = []
        for at, level in zip(self._times, self._levels, strict=True):
            if points:
                before, missing = points[-1]
                full = before + missing / self._rate
                points += [(full, 0.0), (at, 0.0)] if full < at else [(at, self._capacity - level - 1)]
            else:
                points.append((at, 0.0))
            points.append((at, self._capacity - level))
        return [*points, (points[-1][0] + points[-1][1] / self._rate, 0.0)] if points else []


class BucketJudge:
    """Units were taken when a request was sent at the earliest, and when its response was received at the latest.

    Earlier takes leave more at any later time, as more has refilled since. So the first times give the most that can be left, and the
    last times the least.
    """

    def __init__(self, limit: TokenBucket, requests: Sequence[Request]) -> None:
        self.capacity, self._rate = limit.capacity, limit.refill / float(limit.per)
        self._admitted = sorted((each for each in requests if each.admitted), key=lambda each: each.received)
        charged = [each for each in requests if not each.denied]
        self._sent = sorted(each.sent for each in self._admitted)
        self._received = [each.received for each in self._admitted]
        self._charged_sent = sorted(each.sent for each in charged)
        self._charged_received = sorted(each.received for each in charged)
        self._highest_rate = self._rate * (1 + DRIFT)
        self._most = Level(self.capacity, self._highest_rate, self._sent)
        self._least = Level(self.capacity, self._rate * (1 - DRIFT), self._charged_received)

    @property
    def label(self) -> str:
        return "units taken from the bucket, and not yet refilled"

    def breach(self) -> Breach | None:
        """Checks each time at which a response was received, when all requests before it are certain."""
        worst, end = -_ROUNDING, None
        for at in self._received:
            level = self._most.at(at) + bisect_right(self._sent, at) - bisect_right(self._received, at)
            if level < worst:
                worst, end = level, at
        return None if end is None else self._worst_span(end)

    def _worst_span(self, end: float) -> Breach:
        """The span to `end` that exceeds the limit by most."""
        starts = sorted((each.sent for each in self._admitted if each.received <= end), reverse=True)
        spans = [(count - (end - start) * self._highest_rate, count, start) for count, start in enumerate(starts, 1)]
        _, count, start = max(spans)
        return Breach(
            start, end, f"{count} admitted within {end - start:.3f} s, above the limit of {self.capacity} and {self._rate:g} a second"
        )

    def may_be_exhausted(self, denied: Request) -> bool:
        at = denied.sent
        overlapping = bisect_right(self._charged_sent, denied.received) - bisect_right(self._charged_received, at)
        return self._least.at(at) - overlapping < 1

    def most_left(self, answered: Request) -> float:
        """Counts the requests whose responses were received before this one was sent, and the request itself."""
        at = answered.sent
        in_flight = bisect_right(self._sent, at) - bisect_left(self._received, at)
        level = self._most.at(at) + in_flight - answered.admitted
        return min(self.capacity - answered.admitted, level + (answered.received - answered.sent) * self._highest_rate)

    def curve(self) -> Curve:
        return self._most.curve()
