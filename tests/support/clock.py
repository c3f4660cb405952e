"""Injected time."""

# Noon of a Friday, 15 January 2027, UTC.
NOON = 1_800_014_400_000_000

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND


class Clock:
    """Time in microseconds, which stands still until a test moves it: `clock.now_us += 60_000_000`."""

    def __init__(self, now_us: int = NOON) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us
