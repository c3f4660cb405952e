"""An estimate of Redis's time, made from the local monotonic clock, so that changes of the local wall clock do not matter.

A quota sends calendar periods that contain the estimate, and Redis picks among them by its own clock; if none contains its time, the reply
says that time, from which the estimate is corrected. The sidecar uses the estimate to see whether a key has expired.
"""

import time


class ServerClock:
    """Says the local wall clock's time until `learn` is called."""

    __slots__ = ("_ahead_us",)

    def __init__(self) -> None:
        self._ahead_us = time.time_ns() // 1000 - self.ticks_us()

    def ticks_us(self) -> int:
        """The monotonic clock, for `learn`."""
        return time.monotonic_ns() // 1000

    def now_us(self) -> int:
        return time.monotonic_ns() // 1000 + self._ahead_us

    def learn(self, server_us: int, asked_at: int | None = None) -> None:
        """`asked_at` is in ticks, before Redis was asked: the estimate is then ahead by the time that the reply took, and never behind."""
        self._ahead_us = server_us - (self.ticks_us() if asked_at is None else asked_at)
