"""The settings of a limiter."""

from __future__ import annotations

import time
from dataclasses import dataclass

from limiter.decision import Decision, LimitExceeded
from limiter.errors import InvalidPolicy, shown
from limiter.limits.checks import checked_name
from limiter.protocol.call import Clock

# As long as poll(2) can wait.
_MOST_SECONDS = 2_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """`deadline` is in seconds. `clock`, for tests, returns microseconds that replace Redis's time."""

    prefix: str = "lim"
    deadline: float = 0.05
    clock: Clock | None = None

    def __post_init__(self) -> None:
        checked_name(self.prefix, "prefix")
        checked_seconds(self.deadline, "deadline")

    def deadline_at(self, deadline: float | None) -> float:
        """The end of a deadline on the monotonic clock."""
        seconds = self.deadline if deadline is None else checked_seconds(deadline, "deadline")
        return time.monotonic() + seconds


def checked_seconds(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST_SECONDS:
        raise InvalidPolicy(f"{what} must be seconds above 0 and up to {_MOST_SECONDS:,}, not {shown(value)}")
    return value


def pause(decision: Decision, until: float) -> float | None:
    """Seconds to sleep before the next try. None if the decision is final, or the next try would be after `until` (monotonic)."""
    wait = decision.retry_after
    if decision.allowed or wait is None or time.monotonic() + wait > until:
        return None
    return wait


def raised(decision: Decision) -> Decision:
    """The decision if it allows. Raises LimitExceeded if not."""
    if not decision.allowed:
        raise LimitExceeded(decision)
    return decision
