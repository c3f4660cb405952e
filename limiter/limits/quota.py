"""A quota for a calendar period. `lua/quota.lua` decides."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

from limiter.limits.checks import checked_name, checked_units
from limiter.limits.periods import Period, Starts, named_period

# RFC 9651 allows 15 digits in a header.
_MOST_IN_A_QUOTA = 10**15 - 1


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `capacity` units in a calendar period of a time zone: `Quota.daily(10_000, timezone="Europe/Berlin")`.

    `anchor` is the first day of a month (31 is the last day of a shorter month) or of a week (1 is Monday).
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
        checked_units(self.capacity, "capacity", _MOST_IN_A_QUOTA)
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
        # The wire has no times before 1970, which a clock that was never set may show.
        return max(0, before), max(0, this), max(0, following), max(0, after)
