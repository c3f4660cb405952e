"""Sheds the requests that cannot be answered in time. A shed request gets 503, whatever the failure modes of its policies.

A request that arrives while the backlog is full is held unparsed. It is parsed when the backlog has room, and shed if it has none for too
long. To shed a request costs about half of what it costs to answer one, so answering all of a flood with 503 would leave no time for
answers. Shedding gets a share of the time, and requests beyond it stay held. Decision 16 has the figures.
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

    __slots__ = ("_backlog", "_entering", "_held", "_is_looking", "_looked", "_patience", "_reported", "shed")

    def __init__(self, backlog: Backlog[Any, Any], patience: float) -> None:
        self._backlog, self._patience = backlog, patience
        self._held: deque[tuple[float, Held]] = deque()
        self._is_looking, self._looked = False, 0.0
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
        if not self._is_looking:
            self._looked = now
            self._look_soon()
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
        self._is_looking = False
        now = time.monotonic()
        seconds, self._looked = now - self._looked, now
        try:
            self._read(seconds)
            self._shed(seconds)
        finally:
            if self._held and not self._is_looking:
                self._look_soon()

    def _read(self, seconds: float) -> None:
        """The newest first: their clients still wait, and their connections are in the caches of the CPU."""
        for _ in range(min(len(self._held), self._backlog.room(seconds))):
            self._held.pop()[1].proceed(sheds=False)

    def _shed(self, seconds: float) -> None:
        held, now = self._held, time.monotonic()
        until = now + seconds * _SHARE
        while held and held[0][0] + self._patience < now < until:
            held.popleft()[1].proceed(sheds=True)
            now = time.monotonic()

    def _look_soon(self) -> None:
        self._is_looking = True
        asyncio.get_running_loop().call_later(_EVERY, self._look)

    def _report(self) -> None:
        _log.warning("overloaded: requests were shed with 503", requests=self.shed - self._reported, seconds=1)
        self._reported = self.shed
