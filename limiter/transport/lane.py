"""One of the connections of a Batcher, and the batch in flight on it.

A lane keeps a spare file descriptor, and gives it up only while it opens a connection. So a process that has run out of descriptors, for
example because of too many clients, can still replace a connection to Redis that was lost.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from limiter.errors import BackendError
from limiter.protocol.conversation import Conversation
from limiter.transport.async_link import AsyncLink
from limiter.transport.callers import Undecided, Waiter, fail

# What a caller asks, and the answer.
Q = TypeVar("Q")
A = TypeVar("A")


class Lane(Generic[Q, A]):
    __slots__ = ("_link", "_open_link", "_spare", "_timeout", "_undecided", "in_flight", "silent_since", "task")

    def __init__(self, open_link: Callable[[], Awaitable[AsyncLink]], undecided: Undecided[Q, A]) -> None:
        self._open_link, self._undecided = open_link, undecided
        self._link: AsyncLink | None = None
        self._spare: int | None = None
        self._timeout = asyncio.timeout(None)
        self.task: asyncio.Task[None] | None = None
        self.in_flight: list[Waiter[Q, A]] = []
        # Since when Redis owes this lane an answer. A call that was abandoned leaves it as it is.
        self.silent_since: float | None = None

    async def connect(self) -> AsyncLink:
        """Return the connection. Open it if there is none, or if Redis has closed it."""
        if self._link is None or not self._link.is_fresh:
            await self._drop_link()
            self._release_spare()
            try:
                self._link = await self._open_link()
            finally:
                self._take_spare()
        return self._link

    async def carry(self, batch: list[Waiter[Q, A]], conversation: Conversation[list[A | BackendError]], now: float) -> int:
        """Return how many callers Redis has decided."""
        self.in_flight = batch
        if self.silent_since is None:
            self.silent_since = now
        try:
            async with asyncio.timeout(None) as self._timeout:
                link = await self.connect()
                outcomes = await link.talk(conversation)
        except TimeoutError:
            # Only `abandon` sets a timeout: the whole batch is done.
            await self._drop_link()
            return 0
        except Exception as error:  # noqa: BLE001 - after any failure, every caller must get an answer
            self._end_call()
            failure = error if isinstance(error, BackendError) else BackendError(f"the exchange with Redis failed: {error!r}")
            for waiter in batch:
                fail(self._undecided, waiter, failure)
            await self._drop_link()
            return 0
        self._end_call()
        for waiter, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, BackendError):
                fail(self._undecided, waiter, outcome)
            elif not waiter[3].done():
                waiter[3].set_result(outcome)
        return len(batch)

    def abandon(self, now: float) -> None:
        """End a call whose callers are gone. It ends some iterations later, so an empty batch keeps it from being abandoned twice."""
        self.in_flight = []
        self._timeout.reschedule(now)

    async def close(self) -> None:
        await self._drop_link()
        self._release_spare()

    def _end_call(self) -> None:
        self.in_flight, self.silent_since = [], None

    async def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link:
            await link.close()

    def _take_spare(self) -> None:
        if self._spare is None:
            try:
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self._spare = None

    def _release_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare)
