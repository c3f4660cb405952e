"""Redis's time between two readings of it: the last one told, and how long ago that was by our own stopwatch.

It errs by the time that a reply takes, and ahead: a key may be taken for expired a moment too early, upon which the record and the time
are read again, and never too late.
"""

import time

from limiter.protocol.call import Clock


class RedisTime:
    __slots__ = ("_clock", "_told_us", "_told_when")

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock, self._told_us, self._told_when = clock, 0, 0

    def stopwatch_us(self) -> int:
        return time.monotonic_ns() // 1000

    def learn(self, told_us: int, asked_when: int) -> None:
        """`asked_when` by the stopwatch."""
        self._told_us, self._told_when = told_us, asked_when

    def now_us(self) -> int:
        return self._clock() if self._clock else self._told_us + self.stopwatch_us() - self._told_when
