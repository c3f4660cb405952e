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
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from limiter.errors import BackendError, BackendTimeout
from limiter.protocol.call import MOST_GROUPS
from limiter.protocol.conversation import Conversation
from limiter.transport.async_link import AsyncLink

_LANES = 2
_NEVER = float("inf")
# While callers wait, a timer runs at least this often. How late it is says how long the event loop was blocked.
_TICK = 0.01

# Fewer groups than this are decided sooner in one call than in two.
_WORTH_SHARING = 32


# What a caller asks, and the answer.
Q = TypeVar("Q")
A = TypeVar("A")
A_contra = TypeVar("A_contra", contravariant=True)


class Recipient(Protocol[A_contra]):
    """Receives one answer, or the error instead: a Future, or an object that does without the loop iteration that a Future costs.

    Its batch is delivered in one go, so these methods must not raise. After either setter, `done` must return True.
    """

    def done(self) -> bool: ...
    def set_result(self, answer: A_contra, /) -> None: ...
    def set_exception(self, error: BackendError, /) -> None: ...


class _Answers(Generic[A]):
    """The recipient of what is submitted together. The answers arrive in order; the first error is that of all."""

    __slots__ = ("_found", "_left", "future")

    def __init__(self, count: int, future: asyncio.Future[list[A]]) -> None:
        self._found: list[A] = []
        self._left = count
        self.future = future

    def done(self) -> bool:
        return self.future.done()

    def set_result(self, answer: A) -> None:
        self._found.append(answer)
        self._left -= 1
        if not self._left:
            self.future.set_result(self._found)

    def set_exception(self, error: BackendError) -> None:
        self.future.set_exception(error)


# What the caller asks, when (monotonic), how many seconds Redis has to answer, and the recipient. A plain tuple, because every decision
# creates one.
Waiter = tuple[Q, float, float, Recipient[A]]

# After a block of the event loop, a reply that has arrived is delivered within this many iterations: one reads it, one wakes the task.
_ITERATIONS_TO_DELIVER = 3


# The answer when Redis gave none. Raises the error if there is no other answer.
Undecided = Callable[[Q, BackendError], A]


def _fail(undecided: Undecided[Q, A], waiter: Waiter[Q, A], error: BackendError) -> None:
    asked, _, _, recipient = waiter
    if recipient.done():
        return
    try:
        recipient.set_result(undecided(asked, error))
    except BackendError:
        # One error for each caller: a shared one would collect the tracebacks of all of them.
        recipient.set_exception(type(error)(*error.args))


class Lane(Generic[Q, A]):
    """A connection, and the batch in flight on it."""

    __slots__ = ("_link", "_open_link", "_timeout", "_undecided", "in_flight", "silent_since", "task")

    def __init__(self, open_link: Callable[[], Awaitable[AsyncLink]], undecided: Undecided[Q, A]) -> None:
        self._open_link, self._undecided = open_link, undecided
        self._link: AsyncLink | None = None
        self._timeout = asyncio.timeout(None)
        self.task: asyncio.Task[None] | None = None
        self.in_flight: list[Waiter[Q, A]] = []
        # Since when Redis owes this lane an answer. A call that was abandoned leaves it as it is.
        self.silent_since: float | None = None

    async def carry(self, batch: list[Waiter[Q, A]], conversation: Conversation[list[A | BackendError]], now: float) -> None:
        self.in_flight = batch
        if self.silent_since is None:
            self.silent_since = now
        try:
            async with asyncio.timeout(None) as self._timeout:
                link = await self._ready_link()
                outcomes = await link.talk(conversation)
        except TimeoutError:
            # Only `abandon` sets a timeout: the whole batch is done.
            await self.drop_link()
            return
        except Exception as error:  # noqa: BLE001 - after any failure, every caller must get an answer
            await self.drop_link()
            failure = error if isinstance(error, BackendError) else BackendError(f"the exchange with Redis failed: {error!r}")
            for waiter in batch:
                _fail(self._undecided, waiter, failure)
        else:
            for waiter, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, BackendError):
                    _fail(self._undecided, waiter, outcome)
                elif not waiter[3].done():
                    waiter[3].set_result(outcome)
        self.in_flight = []
        self.silent_since = None

    def abandon(self, now: float) -> None:
        """End a call whose callers are gone. It ends some iterations later, so an empty batch keeps it from being abandoned twice."""
        self.in_flight = []
        self._timeout.reschedule(now)

    async def drop_link(self) -> None:
        link, self._link = self._link, None
        if link:
            await link.close()

    async def _ready_link(self) -> AsyncLink:
        if self._link is None or not self._link.is_fresh:
            await self.drop_link()
            self._link = await self._open_link()
        return self._link


class Batcher(Generic[Q, A]):
    """The callers of one event loop, and the lanes that carry what they ask."""

    def __init__(
        self,
        open_link: Callable[[], Awaitable[AsyncLink]],
        converse: Callable[[Sequence[Q]], Conversation[list[A | BackendError]]],
        undecided: Undecided[Q, A],
    ) -> None:
        self._converse, self._undecided = converse, undecided
        self.loop = asyncio.get_running_loop()
        self._lanes = [Lane(open_link, undecided) for _ in range(_LANES)]
        self._starting = False
        self._waiting: deque[Waiter[Q, A]] = deque()
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
        """Submit 1 to MOST_GROUPS questions together."""
        recipient = _Answers[A](len(asked), self.loop.create_future())
        for each in asked:
            self.submit(each, deadline, recipient)
        return await recipient.future

    async def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        unanswered = self._callers()
        working = [lane.task for lane in self._lanes if lane.task]
        for task in working:
            task.cancel()
        if working:
            await asyncio.wait(working)
        for waiter in unanswered:
            _fail(self._undecided, waiter, BackendError("the limiter was closed"))
        for lane in self._lanes:
            await lane.drop_link()

    def _callers(self) -> list[Waiter[Q, A]]:
        return [waiter for lane in self._lanes for waiter in lane.in_flight] + [*self._waiting]

    def _start(self) -> None:
        """Start an idle lane. Its task runs after this loop iteration, so that its first batch holds all callers of the iteration."""
        for lane in self._lanes:
            if lane.task is None:
                self._starting = True
                lane.task = self.loop.create_task(self._work(lane))
                return

    async def _work(self, lane: Lane[Q, A]) -> None:
        self._starting = False
        try:
            while batch := self._next_batch(lane):
                if self._waiting:
                    self._start()
                await lane.carry(batch, self._converse([waiter[0] for waiter in batch]), self._now())
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
                _fail(self._undecided, waiter, BackendTimeout("Redis did not answer within the deadline"))
        self._waiting = deque(waiter for waiter in self._waiting if not waiter[3].done())
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
