"""A decision: whether a request may pass, and how each of its limits stands.

Times are seconds from the decision on. A decision made without Redis is `degraded` and knows no numbers. (These are named tuples, which are
made at a third of what a frozen dataclass costs: there is one for every request.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from limiter.charge import Charge
from limiter.headers import Reset, headers_of
from limiter.limits import Limit

_NEVER = -1

# A named tuple's own constructor does the same, and costs more than all else of it.
_new = tuple.__new__


class LimitState(NamedTuple):
    """One limit of a decision. With 100 a minute and 42 left: `capacity` 100, `remaining` 42, `used` 58."""

    limit: Limit
    charge: Charge
    used: int
    wait_us: int
    reset_us: int

    @property
    def name(self) -> str:
        return self.limit.name

    @property
    def capacity(self) -> int:
        return self.limit.capacity

    @property
    def remaining(self) -> int:
        """Never below 0, though an edit may have left more in use than the capacity now is."""
        left = self.limit.capacity - self.used
        return max(0, left)

    @property
    def blocks(self) -> bool:
        """Whether this limit has no room for the cost. A shadow limit says so and lets it pass."""
        return self.wait_us != 0

    @property
    def retry_after(self) -> float | None:
        """0.0 where there is room, 17.2 where there will be in 17.2 s, None where the cost is above the capacity."""
        return None if self.wait_us == _NEVER else self.wait_us / 1_000_000

    @property
    def reset_after(self) -> float:
        """When all of the capacity is there again, if nothing more is taken."""
        return self.reset_us / 1_000_000


class Decision(NamedTuple):
    """`if not decision.allowed: return 429, decision.headers()`."""

    allowed: bool
    charges: tuple[Charge, ...]
    # used, wait and reset in microseconds, of each limit of each charge, as Redis said them; and when that was.
    numbers: Sequence[int] = ()
    decided_us: int = 0
    degraded: str = ""

    @property
    def limits(self) -> tuple[LimitState, ...]:
        """Every limit of every charge, in order; none in a degraded decision."""
        states: list[LimitState] = []
        numbers, at = self.numbers, 0
        if numbers:
            for charge in self.charges:
                for limit in charge.policy.limits:
                    states.append(_new(LimitState, (limit, charge, numbers[at], numbers[at + 1], numbers[at + 2])))
                    at += 3
        return tuple(states)

    @property
    def enforced(self) -> tuple[LimitState, ...]:
        """The limits that are not in shadow."""
        return tuple(state for state in self.limits if not state.limit.shadow)

    @property
    def binding(self) -> LimitState | None:
        """The limit that matters: of a denial, the one that blocks longest; else the one with the least left."""
        states = self.enforced or self.limits
        if not states:
            return None
        if self.allowed:
            return min(states, key=lambda state: (state.remaining, -state.reset_us))
        return max(states, key=lambda state: (state.wait_us == _NEVER, state.wait_us))

    @property
    def remaining(self) -> int | None:
        """What the binding limit has left; None in a degraded decision."""
        binding = self.binding
        return binding.remaining if binding else None

    @property
    def retry_after(self) -> float | None:
        """0.0 if allowed; else in how many seconds the same request will pass, None if waiting will not help or nobody knows."""
        if self.allowed:
            return 0.0
        binding = self.binding
        return binding.retry_after if binding else None

    @property
    def reset_after(self) -> float | None:
        binding = self.binding
        return binding.reset_after if binding else None

    @property
    def reason(self) -> str:
        """Why it was denied, or how it is degraded, in a sentence; empty for a plain allowance."""
        binding = self.binding
        if self.degraded or self.allowed or binding is None:
            return self.degraded
        charge = binding.charge
        limit = f"limit {binding.name!r} of policy {charge.policy.name!r}"
        if binding.retry_after is None:
            return f"cost {charge.cost} is above the capacity {binding.capacity} of {limit}: it can never pass; ask for less at a time"
        return f"{limit} has {binding.remaining} of {binding.capacity} left for {charge.subject!r}: retry in {binding.retry_after:.3f} s"

    def headers(self, reset: Reset = "delta") -> dict[str, str]:
        """The response headers: RateLimit-Policy, RateLimit, X-RateLimit-*, and on a denial Retry-After and Cache-Control."""
        return headers_of(self, reset)

    def __bool__(self) -> bool:
        """`if limiter.take(...)` reads well, so it means what it says."""
        return self.allowed
