"""A decision: whether a request may pass, and how each of its limits stands.

Times are in seconds from the decision. A decision made without Redis is `degraded` and has no numbers. Both classes are named tuples: one
is made for every request, and a frozen dataclass takes three times as long to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from limiter.charge import Charge
from limiter.errors import LimiterError
from limiter.headers import Layout, Reset, layout_of, render
from limiter.limits import Limit
from limiter.summary import NEVER, WIDTH, summarize

# The same as calling the named tuple, at a third of the time.
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
        """Never below 0, though after an edit more units may be in use than the capacity."""
        return max(0, self.limit.capacity - self.used)

    @property
    def blocks(self) -> bool:
        """Whether the limit has no room for the cost. A shadow limit that blocks still lets the request pass.

        A cost of 0 always has room. `inspect` asks about a cost of 1, so there a full limit blocks.
        """
        return self.wait_us != 0

    @property
    def retry_after(self) -> float | None:
        """0.0 if there is room for the cost, 17.2 if there will be in 17.2 s, None if the cost is above the capacity."""
        return None if self.wait_us == NEVER else self.wait_us / 1_000_000

    @property
    def reset_after(self) -> float:
        """When all of the capacity is there again, if nothing more is taken."""
        return self.reset_us / 1_000_000


class Decision(NamedTuple):
    """`if not decision.allowed: return 429, decision.headers()`."""

    allowed: bool
    charges: tuple[Charge, ...]
    # What Redis answered, for each limit of each charge (see `summary.py`), and its time then.
    numbers: Sequence[int] = ()
    decided_us: int = 0
    degraded: str = ""
    # Whether it charged the limits: not if it was denied, degraded, a peek or a refund. Only such a decision has something to refund.
    charged: bool = False

    @property
    def at(self) -> float:
        """Redis's time of the decision in Unix seconds, exact to the microsecond, for `refund(..., at=)`; 0.0 in a degraded decision."""
        return self.decided_us / 1_000_000

    @property
    def limits(self) -> tuple[LimitState, ...]:
        """Every limit of every charge, in order; empty in a degraded decision."""
        states: list[LimitState] = []
        numbers, at = self.numbers, 0
        if numbers:
            for charge in self.charges:
                for limit in charge.policy.limits:
                    states.append(_new(LimitState, (limit, charge, numbers[at], numbers[at + 1], numbers[at + 2])))
                    at += WIDTH
        return tuple(states)

    @property
    def enforced(self) -> tuple[LimitState, ...]:
        """The limits that are not in shadow."""
        return tuple(state for state in self.limits if not state.limit.shadow)

    @property
    def binding(self) -> LimitState | None:
        """The limit that matters most: for a denial, the one that blocks longest; otherwise the one with the least left."""
        numbers = self.numbers
        if not numbers:
            return None
        (at, _, _, limit, charge), _ = summarize(self._layout().rows, self.allowed, numbers)
        return LimitState(limit, self.charges[charge], numbers[at], numbers[at + 1], numbers[at + 2])

    @property
    def remaining(self) -> int | None:
        """What the binding limit has left; None in a degraded decision."""
        binding = self.binding
        return binding.remaining if binding else None

    @property
    def retry_after(self) -> float | None:
        """0.0 if allowed; otherwise the seconds until the same request passes, or None if waiting does not help or Redis did not decide."""
        if self.allowed:
            return 0.0
        binding = self.binding
        return binding.retry_after if binding else None

    @property
    def reset_after(self) -> float | None:
        """When the binding limit has all of its capacity again; None in a degraded decision."""
        binding = self.binding
        return binding.reset_after if binding else None

    @property
    def reason(self) -> str:
        """Why it was denied, or how it is degraded, in a sentence; empty if Redis allowed the request."""
        binding = self.binding
        if self.degraded or self.allowed or binding is None:
            return self.degraded
        charge = binding.charge
        limit = f"limit {binding.name!r} of policy {charge.policy.name!r}"
        if binding.retry_after is None:
            return f"cost {charge.cost} is above the capacity {binding.capacity} of {limit}: it can never pass; lower the cost"
        return f"{limit} has {binding.remaining} of {binding.capacity} left for {charge.subject!r}: retry in {binding.retry_after:.3f} s"

    def headers(self, reset: Reset = "delta") -> dict[str, str]:
        """The response headers: RateLimit-Policy, RateLimit, X-RateLimit-*, and on a denial Retry-After and Cache-Control."""
        return render(self._layout(), self.allowed, self.numbers, reset, self.decided_us)

    def __bool__(self) -> bool:
        """`if limiter.take(...)` means `if limiter.take(...).allowed`."""
        return self.allowed

    def _layout(self) -> Layout:
        return layout_of(tuple([charge.policy for charge in self.charges]))


class LimitExceeded(LimiterError):
    """A denial, raised by `enforce` and `@limited`. `outage` is True if the answer should be 503 instead of 429."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision

    @property
    def outage(self) -> bool:
        """Whether Redis did not decide, and a policy with `failure="closed"` denied the request."""
        return bool(self.decision.degraded)

    @property
    def retry_after(self) -> float | None:
        """As `Decision.retry_after`: None if waiting does not help, or in an outage."""
        return self.decision.retry_after

    def headers(self, reset: Reset = "delta") -> dict[str, str]:
        """As `Decision.headers`, for the response to the request that was denied."""
        return self.decision.headers(reset)

    def __reduce__(self) -> tuple[type[LimitExceeded], tuple[Decision], dict[str, object]]:
        # By default, an exception is unpickled from its message.
        return type(self), (self.decision,), self.__dict__
