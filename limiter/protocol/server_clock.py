"""A guess at Redis's time, for the calendar periods that a quota sends along: Redis chooses among them by its own clock.

A guess that is too far off is answered with Redis's time, and learnt from; so no clock but Redis's ever matters.
"""

import time


class ServerClock:
    __slots__ = ("_ahead_us",)

    def __init__(self) -> None:
        self._ahead_us = 0

    def now_us(self) -> int:
        return time.time_ns() // 1000 + self._ahead_us

    def learn(self, server_us: int) -> None:
        self._ahead_us = server_us - time.time_ns() // 1000
