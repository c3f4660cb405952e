"""An estimate of Redis's time, for the calendar periods that a quota sends. Redis chooses among them by its own clock.

If the estimate is too far off, Redis answers with its time, and the estimate is corrected. So only Redis's clock matters.
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
