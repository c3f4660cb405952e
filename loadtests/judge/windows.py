"""Judges a sliding window."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from judge.requests import DRIFT, Breach, Curve, Request
from limiter import SlidingWindow

# Admissions that share an entry of a sliding window leave with the last of them, at most 1/128 of the window late.
_LATE = 1 + 1 / 128


class WindowJudge:
    def __init__(self, limit: SlidingWindow, requests: Sequence[Request]) -> None:
        self.capacity = limit.capacity
        self._seconds = limit.arguments()[0] / 1_000_000
        self._least_seconds, self._most_seconds = self._seconds * (1 - DRIFT), self._seconds * (1 + DRIFT) * _LATE
        self._admitted = sorted((each for each in requests if each.admitted), key=lambda each: each.sent)
        # Requests without a valid response may have been charged.
        charged = [each for each in requests if not each.denied]
        self._charged_sent = sorted(each.sent for each in charged)
        self._charged_received = sorted(each.received for each in charged)
        self._sent = [each.sent for each in self._admitted]
        self._received = sorted(each.received for each in self._admitted)

    @property
    def label(self) -> str:
        return f"admitted in the last {self._seconds:g} s"

    def breach(self) -> Breach | None:
        """Counts the requests in every window that starts with one."""
        busiest, start = 0, 0.0
        ends: list[float] = []
        for first in reversed(self._admitted):
            insort(ends, first.received)
            # Earlier windows end earlier, so they do not contain the rest either.
            del ends[bisect_left(ends, first.sent + self._least_seconds) :]
            if len(ends) > busiest:
                busiest, start = len(ends), first.sent
        if busiest <= self.capacity:
            return None
        return Breach(start, start + self._seconds, f"{busiest} admitted within {self._seconds:g} s, above the limit of {self.capacity}")

    def may_be_exhausted(self, denied: Request) -> bool:
        before = bisect_right(self._charged_sent, denied.received)
        left = bisect_right(self._charged_received, denied.sent - self._most_seconds)
        return before - left >= self.capacity

    def most_left(self, answered: Request) -> float:
        before = bisect_left(self._received, answered.sent)
        perhaps_left = bisect_right(self._sent, answered.received - self._least_seconds)
        return self.capacity - max(0, before - perhaps_left) - answered.admitted

    def curve(self) -> Curve:
        """The units in the window that ends at a time: those that were certainly decided in it."""
        inside = [each for each in self._admitted if each.seconds < self._seconds]
        steps = sorted([(each.received, 1) for each in inside] + [(each.sent + self._seconds, -1) for each in inside])
        points: Curve = []
        used = 0
        for at, step in steps:
            points += [(at, used), (at, used + step)]
            used += step
        return points
