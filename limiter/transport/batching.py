"""Batching: while Redis decides one call, the next is filled; nothing waits when idle.

Two calls at most are under way, each on a connection of its own: one with Redis, while the answers of the other are handed out and its
callers come back. Under load a batch grows by itself, up to MOST_GROUPS. Each caller has its own deadline, and one timer sees to all of
them; a caller that is cancelled or out of time leaves its place, and disturbs nobody. A flight that nobody waits for any more is given up,
and its connection with it: its reply would come between those of later ones.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from limiter.errors import BackendError, BackendTimeout
from limiter.protocol.call import MOST_GROUPS, Outcome, Verdict
from limiter.protocol.conversation import Conversation
from limiter.protocol.group import Group
from limiter.transport.async_link import AsyncLink
from limiter.transport.failure import undecided

_LANES = 2

# Fewer are decided sooner in one call than in two.
_WORTH_SHARING = 32


class Answer(Protocol):
    """Where a verdict goes, or the error instead: a future, or what does without the turn of the loop that a future takes.

    It is called amid others of its batch, so it raises nothing; and from then on it is done.
    """

    def done(self) -> bool: ...
    def set_result(self, verdict: Verdict, /) -> None: ...
    def set_exception(self, error: BackendError, /) -> None: ...


# A caller: what it asks, until when it waits (monotonic), and where its answer goes. (A plain tuple, as there is one for every decision.)
Waiter = tuple[Group, float, Answer]


def _fail(waiter: Waiter, error: BackendError) -> None:
    group, _, answer = waiter
    if answer.done():
        return
    try:
        answer.set_result(undecided(group, error))
    except BackendError:
        # Each caller gets an error of its own: a shared one would gather all their tracebacks.
        answer.set_exception(type(error)(*error.args))


class Lane:
    """A connection, and the callers whose call is under way on it."""

    __slots__ = ("_link", "_open_link", "flight", "flying", "task")

    def __init__(self, open_link: Callable[[], Awaitable[AsyncLink]]) -> None:
        self._open_link = open_link
        self._link: AsyncLink | None = None
        self.task: asyncio.Task[None] | None = None
        self.flying: list[Waiter] = []
        self.flight = asyncio.timeout(None)

    async def fly(self, batch: list[Waiter], conversation: Conversation[list[Outcome]]) -> None:
        self.flying = batch
        try:
            async with asyncio.timeout(None) as self.flight:
                link = await self._ready_link()
                outcomes = await link.talk(conversation)
        except TimeoutError:
            # Nobody waits: the timer has answered them all.
            await self.drop_link()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            await self.drop_link()
            failure = error if isinstance(error, BackendError) else BackendError(f"Redis was not understood: {error!r}")
            for waiter in batch:
                _fail(waiter, failure)
        else:
            for waiter, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, BackendError):
                    _fail(waiter, outcome)
                elif not waiter[2].done():
                    waiter[2].set_result(outcome)
        self.flying = []

    def give_up(self, now: float) -> None:
        """End a flight that nobody waits for; once only, as it takes the loop a turn or two."""
        self.flying = []
        self.flight.reschedule(now)

    async def drop_link(self) -> None:
        link, self._link = self._link, None
        if link:
            await link.close()

    async def _ready_link(self) -> AsyncLink:
        if self._link is None or not self._link.is_fresh:
            await self.drop_link()
            self._link = await self._open_link()
        return self._link


class Batcher:
    """The callers of one event loop, and the lanes on which they go."""

    def __init__(
        self,
        open_link: Callable[[], Awaitable[AsyncLink]],
        converse: Callable[[Sequence[Group]], Conversation[list[Outcome]]],
    ) -> None:
        self._converse = converse
        self.loop = asyncio.get_running_loop()
        self._lanes = [Lane(open_link) for _ in range(_LANES)]
        self._starting = False
        self._waiting: deque[Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def submit(self, group: Group, deadline_at: float, answer: Answer) -> None:
        self._waiting.append((group, deadline_at, answer))
        if not self._starting:
            self._start()
        if self._timer is None or deadline_at < self._timer_at:
            self._set_timer(deadline_at)

    async def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        unanswered = [waiter for lane in self._lanes for waiter in lane.flying] + [*self._waiting]
        working = [lane.task for lane in self._lanes if lane.task]
        for task in working:
            task.cancel()
        if working:
            await asyncio.wait(working)
        for waiter in unanswered:
            _fail(waiter, BackendError("the limiter was closed"))
        for lane in self._lanes:
            await lane.drop_link()

    def _start(self) -> None:
        """Let a lane that is free take those who wait, once all who come in this turn of the loop are there."""
        for lane in self._lanes:
            if lane.task is None:
                self._starting = True
                lane.task = self.loop.create_task(self._work(lane))
                return

    async def _work(self, lane: Lane) -> None:
        self._starting = False
        try:
            while batch := self._next_batch(lane):
                if self._waiting:
                    self._start()
                await lane.fly(batch, self._converse([group for group, _, _ in batch]))
        finally:
            lane.task, lane.flying = None, []

    def _next_batch(self, lane: Lane) -> list[Waiter]:
        most = MOST_GROUPS
        if len(self._waiting) > _WORTH_SHARING and not any(other.flying for other in self._lanes if other is not lane):
            # Half for the other lane: so that it is with Redis while the answers of these are handed out.
            most = min(most, (len(self._waiting) + 1) // 2)
        batch: list[Waiter] = []
        while self._waiting and len(batch) < most:
            waiter = self._waiting.popleft()
            if not waiter[2].done():
                batch.append(waiter)
        return batch

    def _set_timer(self, at: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_later(max(0.0, at - time.monotonic()), self._on_time)

    def _on_time(self) -> None:
        now = time.monotonic()
        self._timer = None
        late = BackendTimeout("Redis did not answer within the deadline")
        flying = [waiter for lane in self._lanes for waiter in lane.flying]
        for waiter in (*flying, *self._waiting):
            if waiter[1] <= now:
                _fail(waiter, late)
        self._waiting = deque(waiter for waiter in self._waiting if not waiter[2].done())
        for lane in self._lanes:
            if lane.flying and all(answer.done() for _, _, answer in lane.flying):
                lane.give_up(self.loop.time())
        if left := [deadline_at for _, deadline_at, answer in (*flying, *self._waiting) if not answer.done()]:
            self._set_timer(min(left))
