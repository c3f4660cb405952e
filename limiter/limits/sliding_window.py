"""A sliding window. `lua/sliding_window.lua` decides."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

from limiter.errors import InvalidPolicy, shown
from limiter.limits.checks import MOST_UNITS, checked_name, checked_units
from limiter.limits.durations import Duration, microseconds, name_of

# The state in Redis holds times in 40 bits of microseconds.
_SHORTEST_WINDOW, _LONGEST_WINDOW = 1000, 2**40 - 1

# Admissions in the same slice of a window share an entry in Redis.
_SLICES = 128


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """At most `capacity` units in any `window`, wherever it starts: `SlidingWindow(100, 60)`, `SlidingWindow.per_minute(100)`."""

    kind: ClassVar[int] = 0

    capacity: int
    window: Duration
    name: str = ""
    shadow: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        checked_units(self.capacity, "capacity", MOST_UNITS)
        us = microseconds(self.window, "window")
        if not _SHORTEST_WINDOW <= us <= _LONGEST_WINDOW:
            raise InvalidPolicy(f"window must be from 1ms to 12 days, not {shown(self.window)}; use Quota for longer periods")
        object.__setattr__(self, "window", us / 1_000_000)
        object.__setattr__(self, "name", checked_name(self.name or name_of(us), "name"))

    @classmethod
    def per_second(cls, capacity: int, *, name: str = "", shadow: bool = False) -> Self:
        return cls(capacity, "second", name, shadow=shadow)

    @classmethod
    def per_minute(cls, capacity: int, *, name: str = "", shadow: bool = False) -> Self:
        return cls(capacity, "minute", name, shadow=shadow)

    @classmethod
    def per_hour(cls, capacity: int, *, name: str = "", shadow: bool = False) -> Self:
        return cls(capacity, "hour", name, shadow=shadow)

    @classmethod
    def per_day(cls, capacity: int, *, name: str = "", shadow: bool = False) -> Self:
        return cls(capacity, "day", name, shadow=shadow)

    @property
    def seconds(self) -> int:
        """The window in whole seconds, rounded up, for headers."""
        return -(-self.arguments()[0] // 1_000_000)

    def arguments(self) -> tuple[int, int, int, int]:
        us = microseconds(self.window, "window")
        return us, -(-us // _SLICES), 0, 0
