"""The kinds of limit: what each is called, may be, and is to Redis. How each decides stands in `lua/`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import gcd
from typing import ClassVar, Self

from limiter.durations import Duration, microseconds, name_of
from limiter.errors import InvalidPolicy, shown
from limiter.periods import Period, Starts, named_period

_NAME = re.compile(r"[A-Za-z0-9_.*/-]{1,64}")

# What the state in Redis can hold: counts of 32 bits, times of 40 bits of microseconds, doubles of 53.
_MOST_UNITS = 2**32 - 1
_SHORTEST_WINDOW, _LONGEST_WINDOW = 1000, 2**40 - 1
_MOST_IN_A_QUOTA = 10**15
_EXACT = 2**53

# Admissions in the same slice of a window are counted as one entry: the finer, the more entries.
_SLICES = 128
_YEAR = 366 * 86400 * 1_000_000


def checked_name(name: object, what: str) -> str:
    """A name goes into keys and headers, so it is plain."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidPolicy(f"{what} {shown(name)}: use 1 to 64 letters, digits and _ . * / -")
    return name


def _checked_units(number: object, what: str, most: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidPolicy(f"{what} {shown(number)} is not a whole number: use one from 1 to {most:,}")
    if not 1 <= number <= most:
        raise InvalidPolicy(f"{what} {shown(number)} is out of range: use a whole number from 1 to {most:,}")


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """At most `capacity` units in any `window`, wherever it is laid: `SlidingWindow(100, 60)`, `SlidingWindow.per_minute(100)`."""

    kind: ClassVar[int] = 0

    capacity: int
    window: Duration
    name: str = ""
    shadow: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        _checked_units(self.capacity, "capacity", _MOST_UNITS)
        us = microseconds(self.window, "window")
        if not _SHORTEST_WINDOW <= us <= _LONGEST_WINDOW:
            raise InvalidPolicy(f"window {shown(self.window)} is out of range: use 1ms to 12 days; for longer ones there is Quota")
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


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """Up to `capacity` at once, refilled by `refill` units every `per`: `TokenBucket(capacity=50, refill=1200, per="minute")`.

    In any time t at most capacity + t * refill / per are admitted: here 50 at once, then one every 50 ms.
    """

    kind: ClassVar[int] = 1

    capacity: int
    refill: int
    per: Duration = "second"
    name: str = "burst"
    shadow: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        _checked_units(self.capacity, "capacity", _MOST_UNITS)
        _checked_units(self.refill, "refill", _MOST_UNITS)
        us = microseconds(self.per, "per")
        object.__setattr__(self, "per", us / 1_000_000)
        checked_name(self.name, "name")
        full = self.capacity * us // self.refill
        if not 1 <= us <= _YEAR or full > 10 * _YEAR:
            raise InvalidPolicy(f"refill {self.refill} per {self.per:g}s fills {self.capacity} too slowly: at most 10 years will do")
        if self.capacity * self.arguments()[2] > _EXACT:
            raise InvalidPolicy(f"refill {self.refill} per {self.per:g}s cannot be counted exactly: use a rounder number")

    @property
    def seconds(self) -> int:
        """How long an empty bucket takes to be full, in whole seconds, rounded up, for headers."""
        return -(-self.capacity * microseconds(self.per, "per") // (self.refill * 1_000_000))

    def arguments(self) -> tuple[int, int, int, int]:
        us = microseconds(self.per, "per")
        shared = gcd(us, self.refill)
        parts = self.refill // shared
        return us // self.refill, us // shared % parts, parts, 0


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `capacity` units in a calendar period of a time zone: `Quota.daily(10_000, timezone="Europe/Berlin")`.

    `anchor` is the day on which a month begins (31 means the last, where there are fewer) or a week does (1 is Monday).
    """

    kind: ClassVar[int] = 2

    capacity: int
    period: str
    timezone: str = "UTC"
    anchor: int = 1
    name: str = ""
    shadow: bool = field(default=False, kw_only=True)
    calendar: Period = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _checked_units(self.capacity, "capacity", _MOST_IN_A_QUOTA)
        object.__setattr__(self, "calendar", named_period(self.period, self.timezone, self.anchor))
        object.__setattr__(self, "name", checked_name(self.name or self.period, "name"))

    @classmethod
    def hourly(cls, capacity: int, *, timezone: str = "UTC", name: str = "", shadow: bool = False) -> Self:
        return cls(capacity, "hour", timezone, name=name, shadow=shadow)

    @classmethod
    def daily(cls, capacity: int, *, timezone: str = "UTC", name: str = "", shadow: bool = False) -> Self:
        return cls(capacity, "day", timezone, name=name, shadow=shadow)

    @classmethod
    def weekly(cls, capacity: int, *, timezone: str = "UTC", anchor: int = 1, name: str = "", shadow: bool = False) -> Self:
        return cls(capacity, "week", timezone, anchor, name, shadow=shadow)

    @classmethod
    def monthly(cls, capacity: int, *, timezone: str = "UTC", anchor: int = 1, name: str = "", shadow: bool = False) -> Self:
        return cls(capacity, "month", timezone, anchor, name, shadow=shadow)

    @property
    def seconds(self) -> int:
        """The usual length of the period, for headers: 2,592,000 for a month of 30 days."""
        return self.calendar.usual_seconds

    def starts(self, now_us: int) -> Starts:
        before, this, following, after = self.calendar.starts_around(now_us)
        # The wire knows no time before 1970, where a clock that was never set may stand.
        return max(0, before), max(0, this), max(0, following), max(0, after)


Limit = SlidingWindow | TokenBucket | Quota
