"""`AsyncLimiter`: the library for asyncio. Its verbs are in `verbs.py`; `transport/batching.py` merges the calls of its callers."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from functools import partial
from typing import Any, Self, TypeVar, cast

import redis.asyncio

from limiter.decision import Decision, LimitState
from limiter.decorator import AccountOf, AsyncDecorator, CostOf, Price, SubjectOf, limit_async
from limiter.errors import BackendTimeout, LimiterError
from limiter.policy import Policy
from limiter.protocol.call import Clock, Outcome, Verdict
from limiter.protocol.conversation import Conversation, converse, erase
from limiter.protocol.driver import drive_async
from limiter.protocol.group import Group
from limiter.protocol.parcels import fitting, parcels
from limiter.protocol.server_clock import ServerClock
from limiter.transport.async_link import AsyncLink
from limiter.transport.backlog import Backlog
from limiter.transport.batching import Batcher
from limiter.transport.callers import Recipient
from limiter.transport.connections import async_factory
from limiter.transport.failure import undecided
from limiter.verbs import Settings, Step, Steps, Verbs

# A start can wait for longer than a call.
_CONNECT_S = 1.0

T = TypeVar("T")
Async = Coroutine[Any, Any, T]


class AsyncLimiter(Verbs[Async[Decision], Async[list[Decision]], Async[tuple[LimitState, ...]], Async[None]]):
    """The client for asyncio: it serves one event loop, and shares calls to Redis among concurrent callers.

    `AsyncLimiter("redis://localhost")`, or `AsyncLimiter(redis.asyncio.Redis(...))`, which opens its own connections with the options of
    that client. Every call returns within `deadline` seconds. `clock` is for tests.
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
        self._batcher: Batcher[Group, Verdict] | None = None
        # Those who wait for a decision. The sidecar sheds requests while it is full.
        self.backlog: Backlog[Group, Verdict] = Backlog(deadline / 2)

    def decide(self, group: Group, deadline: float | None = None) -> Async[Decision]:
        # Without a guard and an idempotency key, the verdict on a group is a decision.
        return self.verdict(group, deadline)  # type: ignore[return-value]

    async def decide_many(self, groups: Sequence[Group], deadline: float | None = None) -> list[Decision]:
        batcher = self._batcher_on(asyncio.get_running_loop())
        seconds = self.settings.deadline_of(deadline)
        decisions: list[Verdict] = []
        for parcel in parcels(groups):
            # One after the other: Redis may carry out two calls on two connections in either order.
            decisions += await batcher.submit_many(parcel, seconds)
        return cast("list[Decision]", decisions)

    async def verdict(self, group: Group, deadline: float | None = None) -> Verdict:
        """Like `decide`, but for a group with a guard, the verdict may be that its generation is stale."""
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.verdict_to(future, group, self.settings.deadline_of(deadline))
        return await future

    def verdict_to(self, recipient: Recipient[Verdict], group: Group, deadline: float) -> None:
        """Like `verdict`, but deliver to a callback instead of a Future, which saves a loop iteration."""
        self._batcher_on(asyncio.get_running_loop()).submit(group, deadline, recipient)

    def limited(self, policy: Policy, subject: SubjectOf, cost: CostOf = 1, *, account: AccountOf = None) -> AsyncDecorator:
        """Decorate an async function or an async generator function: call `enforce` before each call of it.

        `@limiter.limited(policy, "reports")`, or with callables that get the arguments of the call:
        `@limiter.limited(policy, lambda user: user.id, cost=lambda user: user.weight)`.
        """
        price = Price(policy, subject, cost, account)
        return lambda function: limit_async(function, self.enforce, price)

    async def connect(self) -> None:
        """Open the connections to Redis now, rather than for the first call. Raises BackendError; the first call then tries again."""
        batcher = self._batcher_on(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(max(self.settings.deadline, _CONNECT_S)):
                await batcher.connect()
        except TimeoutError:
            raise BackendTimeout("Redis did not accept a connection in time") from None

    async def close(self) -> None:
        batcher, self._batcher = self._batcher, None
        if batcher:
            await batcher.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _erase(self, group: Group) -> None:
        try:
            async with asyncio.timeout(self.settings.deadline):
                link = await self._open_link()
                try:
                    await link.talk(erase(group))
                finally:
                    await link.close()
        except TimeoutError:
            raise BackendTimeout("Redis did not answer within the deadline") from None

    def _follow(self, steps: Steps[T], deadline: float | None = None) -> Async[T]:
        return drive_async(steps, partial(self._perform, deadline))

    def _perform(self, deadline: float | None, step: Step) -> Awaitable[Decision | None]:
        return self.decide(step, deadline) if isinstance(step, Group) else asyncio.sleep(step)

    def _batcher_on(self, loop: asyncio.AbstractEventLoop) -> Batcher[Group, Verdict]:
        batcher = self._batcher
        if batcher is None or batcher.loop is not loop:
            if batcher is not None and not batcher.loop.is_closed():
                raise LimiterError("an AsyncLimiter serves one event loop: create another one for this loop, or close it in its own loop")
            batcher = self._batcher = Batcher(self._open_link, self._converse, undecided, fitting, self.backlog)
        return batcher

    async def _open_link(self) -> AsyncLink:
        return await AsyncLink.open(self._connect())

    def _converse(self, groups: Sequence[Group]) -> Conversation[list[Outcome]]:
        return converse(groups, self._guess, self.settings.clock)
