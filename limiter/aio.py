"""`AsyncLimiter`: the library for asyncio. What it asks stands in `verbs.py`, how calls are shared in `batching.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import ParamSpec, Self, TypeVar

import redis.asyncio

from limiter.decision import Decision, LimitState
from limiter.errors import BackendTimeout, LimiterError
from limiter.policy import Policy
from limiter.protocol.call import Clock, Outcome, Verdict
from limiter.protocol.conversation import Conversation, converse, erase
from limiter.protocol.group import Group
from limiter.protocol.server_clock import ServerClock
from limiter.settings import Settings, checked_seconds, pause, raised
from limiter.transport.async_link import AsyncLink
from limiter.transport.batching import Answer, Batcher
from limiter.transport.connections import async_factory
from limiter.verbs import Verbs, What

P = ParamSpec("P")
R = TypeVar("R")


class AsyncLimiter(Verbs[Awaitable[Decision], Awaitable[list[Decision]]]):
    """Takes limits from Redis for the callers of one event loop, many of them in one call to it.

    `AsyncLimiter("redis://localhost")`, or `AsyncLimiter(redis.asyncio.Redis(...))`: that client's way to connect, on a connection of
    our own. Every answer comes within `deadline` seconds; `clock` is for tests.
    """

    def __init__(
        self,
        source: str | redis.asyncio.Redis,
        *,
        prefix: str = "lim",
        deadline: float = 0.05,
        clock: Clock | None = None,
    ) -> None:
        self.settings = Settings(prefix, deadline, clock)
        self._connect = async_factory(source)
        self._guess = ServerClock()
        self._batcher: Batcher | None = None

    def decide(self, group: Group, deadline: float | None = None) -> Awaitable[Decision]:
        # Without a guard, a group's verdict is a decision.
        return self.verdict(group, deadline)  # type: ignore[return-value]

    async def decide_many(self, groups: Sequence[Group], deadline: float | None = None) -> list[Decision]:
        return list(await asyncio.gather(*(self.decide(group, deadline) for group in groups)))

    def verdict(self, group: Group, deadline: float | None = None) -> asyncio.Future[Verdict]:
        """As `decide`; of a guarded group, perhaps that the generation has moved on."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Verdict] = loop.create_future()
        self._batcher_on(loop).submit(group, self.settings.deadline_at(deadline), answer)
        return answer

    def verdict_to(self, answer: Answer, group: Group, deadline_at: float) -> None:
        """As `verdict`, handed to `answer`. For who serves many at once: it spares a future and a turn of the loop each."""
        self._batcher_on(asyncio.get_running_loop()).submit(group, deadline_at, answer)

    async def inspect(self, what: What, subject: str | None = None, *, account: str | None = None) -> tuple[LimitState, ...]:
        """How each limit stands."""
        return (await self.peek(what, subject, 0, account=account)).limits

    async def reset(self, what: What, subject: str | None = None, *, account: str | None = None) -> None:
        """Forget all that was counted."""
        conversation = erase(self._group(what, subject, 0, account))
        try:
            async with asyncio.timeout(self.settings.deadline):
                link = await self._open_link()
                try:
                    await link.talk(conversation)
                finally:
                    await link.close()
        except TimeoutError:
            raise BackendTimeout("Redis did not answer within the deadline") from None

    async def enforce(self, what: What, subject: str | None = None, cost: int = 1, *, account: str | None = None) -> Decision:
        """`take`, with a denial raised as LimitExceeded."""
        return raised(await self.take(what, subject, cost, account=account))

    async def wait(self, what: What, subject: str | None = None, cost: int = 1, *, timeout: float, account: str | None = None) -> Decision:
        """`take`, sleeping until admitted; the denial itself where that is not to be within `timeout` seconds."""
        until = time.monotonic() + checked_seconds(timeout, "timeout")
        while True:
            decision = await self.take(what, subject, cost, account=account)
            seconds = pause(decision, until)
            if seconds is None:
                return decision
            await asyncio.sleep(seconds)

    def limited(
        self, policy: Policy, subject: str | Callable[P, str], cost: int = 1
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """A decorator: `@limiter.limited(policy, lambda user: user.id)` takes before each call, and raises LimitExceeded."""

        def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
            @wraps(function)
            async def taking(*args: P.args, **kwargs: P.kwargs) -> R:
                await self.enforce(policy, subject if isinstance(subject, str) else subject(*args, **kwargs), cost)
                return await function(*args, **kwargs)

            return taking

        return decorate

    async def close(self) -> None:
        batcher, self._batcher = self._batcher, None
        if batcher:
            await batcher.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _batcher_on(self, loop: asyncio.AbstractEventLoop) -> Batcher:
        batcher = self._batcher
        if batcher is None or batcher.loop is not loop:
            if batcher is not None and not batcher.loop.is_closed():
                raise LimiterError("an AsyncLimiter serves one event loop: make another one for this loop, or close it in its own")
            batcher = self._batcher = Batcher(self._open_link, self._converse)
        return batcher

    async def _open_link(self) -> AsyncLink:
        return await AsyncLink.open(self._connect())

    def _converse(self, groups: Sequence[Group]) -> Conversation[list[Outcome]]:
        return converse(groups, self._guess, self.settings.clock)
