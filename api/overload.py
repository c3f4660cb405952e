"""Sheds the requests that cannot be answered in time. A shed request gets 503, whatever the failure modes of its policies.

A request that arrives while the backlog is full is held unread. It is read as soon as the backlog has room, and shed if that takes longer
than the deadline of Redis. To shed a request costs a fraction of what it costs to answer one, but that is not nothing: so many could arrive
that no time is left for answers. So shedding gets a share of the time, and requests that are held beyond it wait.
"""

import asyncio
import time
from collections import deque
from typing import Any, Protocol

import structlog

from limiter.api.answers import problem
from limiter.problems import REDUCED_CAPACITY
from limiter.transport.backlog import Backlog

_log = structlog.get_logger("limiter.front")

SHED = problem(
    503,
    "The limiter has more requests than it can answer in time; try again.",
    kind=REDUCED_CAPACITY,
    headers=((b"retry-after", b"1"),),
)

# The share of the time that is spent on shedding, and the seconds between two looks at the held requests.
_SHARE, _EVERY = 0.05, 0.005


class Held(Protocol):
    def proceed(self, *, sheds: bool) -> None: ...


class Overload:
    """`shed` counts the requests that were shed since the start."""

    __slots__ = ("_backlog", "_entering", "_held", "_looked", "_patience", "_reported", "shed")

    def __init__(self, backlog: Backlog[Any, Any], patience: float) -> None:
        self._backlog, self._patience = backlog, patience
        self._held: deque[tuple[float, Held]] = deque()
        self._looked = 0.0
        self._entering = 0
        self.shed = self._reported = 0

    @property
    def is_over(self) -> bool:
        backlog = self._backlog
        return len(backlog) + self._entering > backlog.most or bool(self._held)

    @property
    def is_full(self) -> bool:
        return self._backlog.is_full

    def hold(self, held: Held) -> None:
        now = time.monotonic()
        if not self._held:
            self._looked = now
            asyncio.get_running_loop().call_later(_EVERY, self._look)
        self._held.append((now, held))

    def note(self) -> None:
        """Call it for each request that is shed. Logs their number at most once a second."""
        if self.shed == self._reported:
            asyncio.get_running_loop().call_later(1, self._report)
        self.shed += 1

    def enter(self) -> None:
        """Count a request whose task has not joined the backlog yet. It does so in the next iteration of the event loop."""
        if not self._entering:
            asyncio.get_running_loop().call_soon(self._entered)
        self._entering += 1

    def _entered(self) -> None:
        self._entering = 0

    def _look(self) -> None:
        began, held, backlog = time.monotonic(), self._held, self._backlog
        for _ in range(min(len(held), backlog.room(began - self._looked))):
            held.pop()[1].proceed(sheds=False)
        now = time.monotonic()
        until = now + (began - self._looked) * _SHARE
        self._looked = began
        while held and held[0][0] + self._patience < now < until:
            held.popleft()[1].proceed(sheds=True)
            now = time.monotonic()
        if held:
            asyncio.get_running_loop().call_later(_EVERY, self._look)

    def _report(self) -> None:
        _log.warning("overloaded: requests were shed with 503", requests=self.shed - self._reported, seconds=1)
        self._reported = self.shed
