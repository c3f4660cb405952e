"""Batching: while Redis decides one call, callers gather for the next. Without load, nothing is delayed.

At most two calls are in flight, each on its own connection: Redis works on one while the results of the other are delivered and its
callers return. Under load a batch grows, up to MOST_GROUPS. A caller that is cancelled or out of time leaves without effect on the others.
A call in flight whose callers are all gone is abandoned together with its connection: its reply would arrive among those of later calls.

One timer serves the deadlines of all callers. A deadline measures how long Redis is silent. Time in our own queue while Redis answers, and
time in which the event loop is blocked, do not count: overload must not look like an outage, in which a policy may admit uncounted.

Groups that are submitted together travel in one call, so they are decided in their order.

What is asked is up to the caller: AsyncLimiter asks for verdicts on groups, and the sidecar for the keys behind digests.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from limiter.errors import BackendError, BackendTimeout
from limiter.protocol.conversation import Conversation
from limiter.protocol.parcels import MOST_GROUPS
from limiter.transport.async_link import AsyncLink
from limiter.transport.backlog import Backlog
from limiter.transport.callers import Recipient, Together, Undecided, Waiter, fail
from limiter.transport.lane import Lane

_LANES = 2
_NEVER = float("inf")
# While callers wait, a timer runs at least this often. How late it is says how long the event loop was blocked.
_TICK = 0.01

# Fewer groups than this are decided sooner in one call than in two.
_WORTH_SHARING = 32


# What a caller asks, and the answer.
Q = TypeVar("Q")
A = TypeVar("A")

# After a block of the event loop, a reply that has arrived is delivered within this many iterations: one reads it, one wakes the task.
_ITERATIONS_TO_DELIVER = 3


class Batcher(Generic[Q, A]):
    """The callers of one event loop, and the lanes that carry what they ask.

    `fitting` says how much of what is asked, from the first on, fits into one call. `backlog` is the queue of those who wait.
    """

    def __init__(
        self,
        open_link: Callable[[], Awaitable[AsyncLink]],
        converse: Callable[[Sequence[Q]], Conversation[list[A | BackendError]]],
        undecided: Undecided[Q, A],
        fitting: Callable[[Sequence[Q]], int] = len,
        backlog: Backlog[Q, A] | None = None,
    ) -> None:
        self._converse, self._undecided, self._fitting = converse, undecided, fitting
        self.loop = asyncio.get_running_loop()
        self._lanes = [Lane(open_link, undecided) for _ in range(_LANES)]
        self._starting = False
        self._waiting: Backlog[Q, A] = Backlog(_NEVER) if backlog is None else backlog
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        # No deadline ends before this.
        self._due = _NEVER
        self._blocked = 0.0

    def submit(self, asked: Q, deadline: float, recipient: Recipient[A]) -> None:
        # As `_now` does, without the call.
        now = time.monotonic() - self._blocked
        self._waiting.append((asked, now, deadline, recipient))
        if not self._starting:
            self._start()
        if now + deadline < self._due:
            self._due = now + deadline
            self._set_timer(now + min(deadline, _TICK))

    async def submit_many(self, asked: Sequence[Q], deadline: float) -> list[A]:
        """Submit together as much as fits into one call."""
        recipient = Together[A](len(asked), self.loop.create_future())
        for each in asked:
            self.submit(each, deadline, recipient)
        return await recipient.future

    async def connect(self) -> None:
        """Open the connections before they are needed. Raises BackendError."""
        idle = [lane for lane in self._lanes if lane.task is None]
        for lane in idle:
            lane.task = self.loop.create_task(self._connect(lane))
        await asyncio.gather(*(lane.task for lane in idle if lane.task))

    async def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        unanswered = self._callers()
        working = [lane.task for lane in self._lanes if lane.task]
        for task in working:
            task.cancel()
        if working:
            await asyncio.wait(working)
        self._waiting.clear()
        for waiter in unanswered:
            fail(self._undecided, waiter, BackendError("the limiter was closed"))
        for lane in self._lanes:
            await lane.close()

    def _callers(self) -> list[Waiter[Q, A]]:
        return [waiter for lane in self._lanes for waiter in lane.in_flight] + [*self._waiting]

    def _start(self) -> None:
        """Start an idle lane. Its task runs after this loop iteration, so that its first batch holds all callers of the iteration."""
        for lane in self._lanes:
            if lane.task is None:
                self._starting = True
                lane.task = self.loop.create_task(self._work(lane))
                return

    async def _connect(self, lane: Lane[Q, A]) -> None:
        try:
            await lane.connect()
        finally:
            lane.task = None
            if self._waiting:
                self._start()

    async def _work(self, lane: Lane[Q, A]) -> None:
        self._starting = False
        try:
            while batch := self._next_batch(lane):
                if self._waiting:
                    self._start()
                decided = await lane.carry(batch, self._converse([waiter[0] for waiter in batch]), self._now())
                self._waiting.decided(decided, len(self._waiting) + sum([len(each.in_flight) for each in self._lanes]), time.monotonic())
        finally:
            lane.task, lane.in_flight, lane.silent_since = None, [], None

    def _next_batch(self, lane: Lane[Q, A]) -> list[Waiter[Q, A]]:
        most = MOST_GROUPS
        if len(self._waiting) > _WORTH_SHARING and not any(other.in_flight for other in self._lanes if other is not lane):
            # Half for the other lane, so that Redis works on it while the results of this one are delivered.
            most = min(most, (len(self._waiting) + 1) // 2)
        batch: list[Waiter[Q, A]] = []
        while self._waiting and len(batch) < most:
            waiter = self._waiting.popleft()
            if not waiter[3].done():
                batch.append(waiter)
        fits = self._fitting([waiter[0] for waiter in batch])
        if fits < len(batch):
            self._waiting.extendleft(reversed(batch[fits:]))
            del batch[fits:]
        if batch and self._waiting and self._waiting[0][3] is batch[-1][3]:
            self._keep_together(batch)
        return batch

    def _keep_together(self, batch: list[Waiter[Q, A]]) -> None:
        """The batch ends among groups that were submitted together: leave them for the next one, or take all if there are no others."""
        recipient = batch[-1][3]
        if batch[0][3] is recipient:
            while self._waiting and self._waiting[0][3] is recipient:
                batch.append(self._waiting.popleft())
        else:
            while batch[-1][3] is recipient:
                self._waiting.appendleft(batch.pop())

    def _set_timer(self, at: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_later(max(0.0, at - self._now()), self._on_time)

    def _now(self) -> float:
        """The monotonic clock without the time in which the event loop was blocked, which is not Redis's fault."""
        return time.monotonic() - self._blocked

    def _on_time(self) -> None:
        self._timer = None
        self._blocked += max(0.0, self._now() - self._timer_at)
        now = self._now()
        if now >= self._due:
            # Replies that have arrived during a block of the loop are delivered before any caller is given up. Until then, no timer is set.
            self._due = 0.0
            self._after(_ITERATIONS_TO_DELIVER, self._expire, now)
        elif self._waiting or any(lane.in_flight for lane in self._lanes):
            self._set_timer(min(self._due, now + _TICK))
        else:
            self._due = _NEVER

    def _after(self, iterations: int, callback: Callable[[float], None], now: float) -> None:
        if iterations:
            self.loop.call_soon(self._after, iterations - 1, callback, now)
        else:
            callback(now)

    def _expire(self, now: float) -> None:
        """Give up the callers that Redis has kept waiting for longer than their deadlines. A recipient may submit again at once."""
        for waiter, at in self._deadlines(now):
            if at <= now:
                fail(self._undecided, waiter, BackendTimeout("Redis did not answer within the deadline"))
        left = [waiter for waiter in self._waiting if not waiter[3].done()]
        if len(left) < len(self._waiting):
            self._waiting.clear()
            self._waiting.extend(left)
            self._waiting.restart()
        for lane in self._lanes:
            if lane.in_flight and all(recipient.done() for _, _, _, recipient in lane.in_flight):
                lane.abandon(self.loop.time())
        self._due = min((at for waiter, at in self._deadlines(now) if not waiter[3].done()), default=_NEVER)
        if self._due != _NEVER:
            self._set_timer(min(self._due, now + _TICK))

    def _deadlines(self, now: float) -> list[tuple[Waiter[Q, A], float]]:
        """Each caller and the end of its deadline, which begins when Redis falls silent: for callers that wait, on every lane."""
        silences = [now if lane.silent_since is None else lane.silent_since for lane in self._lanes]
        owed = [(waiter, since) for lane, since in zip(self._lanes, silences, strict=True) for waiter in lane.in_flight]
        owed += [(waiter, max(silences)) for waiter in self._waiting]
        return [(waiter, max(waiter[1], silent_since) + waiter[2]) for waiter, silent_since in owed]
