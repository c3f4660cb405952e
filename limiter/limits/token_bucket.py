"""A token bucket. `lua/token_bucket.lua` decides."""

from dataclasses import dataclass, field
from math import gcd
from typing import ClassVar

from limiter.errors import InvalidPolicy
from limiter.limits.checks import MOST_UNITS, checked_name, checked_units
from limiter.limits.durations import Duration, microseconds

# Lua counts in doubles, which hold integers exactly up to this.
_EXACT = 2**53
_YEAR = 366 * 86400 * 1_000_000


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
        checked_units(self.capacity, "capacity", MOST_UNITS)
        checked_units(self.refill, "refill", MOST_UNITS)
        us = microseconds(self.per, "per")
        object.__setattr__(self, "per", us / 1_000_000)
        checked_name(self.name, "name")
        full, rate = self.capacity * us // self.refill, f"{self.refill:,} per {self.per:g}s"
        if not 1 <= us <= _YEAR or full > 10 * _YEAR:
            raise InvalidPolicy(f"refill must fill a capacity of {self.capacity:,} within 10 years, not {rate}")
        if self.capacity * self.arguments()[2] > _EXACT:
            raise InvalidPolicy(
                f"refill must be a rate at which {self.capacity:,} units can be counted exactly, not {rate}: use a rounder number"
            )

    @property
    def seconds(self) -> int:
        """How long an empty bucket takes to fill, in whole seconds, rounded up, for headers."""
        return -(-self.capacity * microseconds(self.per, "per") // (self.refill * 1_000_000))

    def arguments(self) -> tuple[int, int, int, int]:
        us = microseconds(self.per, "per")
        shared = gcd(us, self.refill)
        parts = self.refill // shared
        return us // self.refill, us // shared % parts, parts, 0
