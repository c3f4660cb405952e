"""The callers that wait for their turn, and how many of them can be decided in time."""

from collections import deque
from typing import Generic, TypeVar

from limiter.transport.callers import Waiter

# So many callers always count as decided in time: they share a call.
_ALWAYS = 32

# What a caller asks, and the answer.
Q = TypeVar("Q")
A = TypeVar("A")


class Backlog(deque[Waiter[Q, A]], Generic[Q, A]):
    """First come, first served. `most` callers that wait are decided within `target` seconds; it is unbounded until some waited for longer.

    A measurement ends when as many callers have been decided as were undecided when it began, or after the target. If only few callers
    wait, they wait for a round trip rather than for each other, which says little about many callers. So a measurement lowers `most` only
    if it took longer than the target, and never below the size of a small call.
    """

    __slots__ = ("_began", "_decided", "_target", "_undecided", "most")

    def __init__(self, target: float) -> None:
        super().__init__()
        self._target = target
        self.restart()

    @property
    def is_full(self) -> bool:
        return len(self) > self.most

    def room(self, seconds: float) -> int:
        """How many may join now if others last joined that many seconds ago: a quarter more than leave, so that the rate can rise."""
        return int(max(0, min(self.most - len(self), max(1, 1.25 * self.most * seconds / self._target))))

    def restart(self) -> None:
        """Forget all measurements, because callers were given up: how many Redis could decide is not known."""
        self.most = 1e9
        self._undecided = self._decided = 0
        self._began = 0.0

    def decided(self, count: int, undecided: int, now: float) -> None:
        """`count` callers have just been decided, and `undecided` are left. The clock must not stand still while the loop is blocked."""
        self._decided += count
        waited = now - self._began
        if self._undecided > self._decided and waited <= self._target:
            return
        if self._undecided:
            within_target = max(_ALWAYS, self._decided * self._target / waited)
            if waited > self._target or within_target > self.most:
                self.most = within_target
        self._undecided, self._decided, self._began = undecided, 0, now
