"""Judges a quota. Its periods begin by the server's clock, which may differ from the client's by a tolerance."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from judge.requests import Breach, Curve, Request
from limiter import Quota


class QuotaJudge:
    def __init__(self, limit: Quota, requests: Sequence[Request], tolerance: float) -> None:
        self.capacity, self._limit, self._tolerance = limit.capacity, limit, tolerance
        admitted = [each for each in requests if each.admitted]
        charged = [each for each in requests if not each.denied]
        self._sent, self._received = sorted(each.sent for each in admitted), sorted(each.received for each in admitted)
        self._charged_sent, self._charged_received = sorted(each.sent for each in charged), sorted(each.received for each in charged)

    @property
    def label(self) -> str:
        return f"admitted in the {self._limit.period}"

    def breach(self) -> Breach | None:
        worst = max(((self._certain(start, end), start, end) for start, end in self._periods(self._sent)), default=(0, 0.0, 0.0))
        count, start, end = worst
        if count <= self.capacity:
            return None
        return Breach(start, end, f"{count} admitted within one {self._limit.period}, above the quota of {self.capacity}")

    def may_be_exhausted(self, denied: Request) -> bool:
        moments = [denied.sent - self._tolerance, denied.received + self._tolerance]
        return any(self._possible(start, min(end, denied.received)) >= self.capacity for start, end in self._periods(moments))

    def most_left(self, answered: Request) -> float:
        moments = [answered.sent - self._tolerance, answered.received + self._tolerance]
        return max(
            self.capacity - answered.admitted - self._certain(start, min(end, answered.sent)) for start, end in self._periods(moments)
        )

    def _periods(self, moments: Sequence[float]) -> Iterator[tuple[float, float]]:
        """The periods that contain the moments, which are in order."""
        end = float("-inf")
        for moment in moments:
            if moment >= end:
                _, start_us, end_us, _ = self._limit.calendar.starts_around(int(moment * 1_000_000))
                end = end_us / 1_000_000
                yield start_us / 1_000_000, end

    def _certain(self, start: float, end: float) -> int:
        """At least so many were decided between the two, both of which the clocks may read differently."""
        return max(0, bisect_left(self._received, end - self._tolerance) - bisect_left(self._sent, start + self._tolerance))

    def _possible(self, start: float, end: float) -> int:
        """At most so many were decided between the two."""
        return bisect_right(self._charged_sent, end + self._tolerance) - bisect_right(self._charged_received, start - self._tolerance)

    def curve(self) -> Curve:
        points: Curve = []
        for start, end in self._periods(self._sent):
            inside = self._received[bisect_left(self._received, start) : bisect_left(self._received, end)]
            points += [(at, count + up) for count, at in enumerate(inside) for up in (0, 1)]
            points += [(end, len(inside)), (end, 0)] if inside and self._sent[-1] >= end else []
        return points
