"""Batching: while one call is in flight, decisions that arrive wait for the next; nothing waits when idle.

Under load the batch grows by itself, up to MOST_GROUPS. Each caller has its own deadline, and one timer sees to all of them; a caller
that is cancelled or out of time leaves its place, and disturbs nobody. A flight that nobody waits for any more is given up, and its
connection with it: its reply would come between those of later ones.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from limiter.conversation import Conversation
from limiter.errors import BackendError, BackendTimeout
from limiter.failure import undecided
from limiter.group import Group
from limiter.protocol import MOST_GROUPS, Verdict
from limiter.streaming import AsyncLink


class Answer(Protocol):
    """Where a verdict goes, or the error instead: a future, or what does without the turn of the loop that a future takes.

    It is called amid others of its batch, so it raises nothing; and from then on it is done.
    """

    def done(self) -> bool: ...
    def set_result(self, verdict: Verdict, /) -> None: ...
    def set_exception(self, error: BackendError, /) -> None: ...


class Waiter:
    """A caller: what it asks, until when it waits (monotonic), and where its answer goes."""

    __slots__ = ("answer", "deadline_at", "group")

    def __init__(self, group: Group, deadline_at: float, answer: Answer) -> None:
        self.group, self.deadline_at, self.answer = group, deadline_at, answer

    def fail(self, error: BackendError) -> None:
        if self.answer.done():
            return
        try:
            self.answer.set_result(undecided(self.group, error))
        except BackendError:
            # Each caller gets an error of its own: a shared one would gather all their tracebacks.
            self.answer.set_exception(type(error)(*error.args))


class Batcher:
    """One connection of one event loop, and those who wait for it."""

    def __init__(
        self,
        open_link: Callable[[], Awaitable[AsyncLink]],
        converse: Callable[[Sequence[Group]], Conversation[list[Verdict]]],
    ) -> None:
        self._open_link, self._converse = open_link, converse
        self.loop = asyncio.get_running_loop()
        self._link: AsyncLink | None = None
        self._waiting: deque[Waiter] = deque()
        self._flying: list[Waiter] = []
        self._flight = asyncio.timeout(None)
        self._worker: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def submit(self, group: Group, deadline_at: float, answer: Answer) -> None:
        self._waiting.append(Waiter(group, deadline_at, answer))
        if self._worker is None:
            self._worker = self.loop.create_task(self._work())
        if self._timer is None or deadline_at < self._timer_at:
            self._set_timer(deadline_at)

    async def close(self) -> None:
        worker, timer = self._worker, self._timer
        unanswered = [*self._flying, *self._waiting]
        if timer:
            timer.cancel()
        if worker:
            worker.cancel()
            await asyncio.wait([worker])
        for waiter in unanswered:
            waiter.fail(BackendError("the limiter was closed"))
        if self._link:
            await self._link.close()

    async def _work(self) -> None:
        try:
            while batch := self._next_batch():
                self._flying = batch
                await self._fly(batch)
        finally:
            self._worker, self._flying = None, []

    def _next_batch(self) -> list[Waiter]:
        batch: list[Waiter] = []
        while self._waiting and len(batch) < MOST_GROUPS:
            waiter = self._waiting.popleft()
            if not waiter.answer.done():
                batch.append(waiter)
        return batch

    async def _fly(self, batch: list[Waiter]) -> None:
        try:
            async with asyncio.timeout(None) as self._flight:
                link = await self._ready_link()
                verdicts = await link.talk(self._converse([waiter.group for waiter in batch]))
        except TimeoutError:
            # Nobody waits: the timer has answered them all.
            await self._drop_link()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            await self._drop_link()
            failure = error if isinstance(error, BackendError) else BackendError(f"Redis was not understood: {error!r}")
            for waiter in batch:
                waiter.fail(failure)
        else:
            for waiter, verdict in zip(batch, verdicts, strict=True):
                if not waiter.answer.done():
                    waiter.answer.set_result(verdict)

    async def _ready_link(self) -> AsyncLink:
        if self._link is None or not self._link.is_fresh:
            await self._drop_link()
            self._link = await self._open_link()
        return self._link

    async def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link:
            await link.close()

    def _set_timer(self, at: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_later(max(0.0, at - time.monotonic()), self._on_time)

    def _on_time(self) -> None:
        now = time.monotonic()
        self._timer = None
        late = BackendTimeout("Redis did not answer within the deadline")
        for waiter in (*self._flying, *self._waiting):
            if waiter.deadline_at <= now:
                waiter.fail(late)
        self._waiting = deque(waiter for waiter in self._waiting if not waiter.answer.done())
        flying = [waiter for waiter in self._flying if not waiter.answer.done()]
        if self._flying and not flying:
            # Once only: it takes the loop a turn or two to end the flight.
            self._flying = []
            self._flight.reschedule(self.loop.time())
        if left := [waiter.deadline_at for waiter in (*flying, *self._waiting)]:
            self._set_timer(min(left))
