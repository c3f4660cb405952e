"""`Limiter`: the library for threads. Its verbs are in `verbs.py`, its conversations with Redis in `protocol/conversation.py`."""

import os
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Self, TypeVar, cast

import redis

from limiter.decision import Decision, LimitState
from limiter.decorator import AccountOf, CostOf, Decorator, Price, SubjectOf, limit
from limiter.errors import BackendError
from limiter.policy import Policy
from limiter.protocol.call import Clock
from limiter.protocol.conversation import Conversation, converse, erase
from limiter.protocol.driver import drive
from limiter.protocol.group import Group
from limiter.protocol.parcels import parcels
from limiter.protocol.server_clock import ServerClock
from limiter.transport.connections import sync_factory
from limiter.transport.failure import undecided
from limiter.transport.link import Link
from limiter.verbs import Settings, Step, Steps, Verbs

T = TypeVar("T")


class Limiter(Verbs[Decision, list[Decision], tuple[LimitState, ...], None]):
    """The client for threads: any number of threads can use one Limiter.

    `Limiter("redis://localhost")`, or `Limiter(redis.Redis(...))`, which opens its own connections with the options of that client. Every
    call returns within `deadline` seconds. `clock` is for tests.
    """

    def __init__(self, source: str | redis.Redis, *, prefix: str = "lim", deadline: float = 0.05, clock: Clock | None = None) -> None:
        self.settings = Settings(prefix, deadline, clock)
        self._connect = sync_factory(source)
        self._guess = ServerClock()
        self._idle: deque[Link] = deque()
        self._pid = os.getpid()

    def decide(self, group: Group, deadline: float | None = None) -> Decision:
        return self._decide([group], self.settings.deadline_at(deadline))[0]

    def decide_many(self, groups: Sequence[Group], deadline: float | None = None) -> list[Decision]:
        deadline_at = self.settings.deadline_at(deadline)
        decisions: list[Decision] = []
        for parcel in parcels(groups):
            decisions += self._decide(parcel, deadline_at)
        return decisions

    def limited(self, policy: Policy, subject: SubjectOf, cost: CostOf = 1, *, account: AccountOf = None) -> Decorator:
        """Decorate a function or a generator function: call `enforce` before each call of it.

        `@limiter.limited(policy, "reports")`, or with callables that get the arguments of the call:
        `@limiter.limited(policy, lambda user: user.id, cost=lambda user: user.weight)`.
        """
        price = Price(policy, subject, cost, account)
        return lambda function: limit(function, self.enforce, price)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _erase(self, group: Group) -> None:
        self._carry(erase(group), self.settings.deadline_at(None))

    def _follow(self, steps: Steps[T], deadline: float | None = None) -> T:
        return drive(steps, partial(self._perform, deadline))

    def _perform(self, deadline: float | None, step: Step) -> Decision | None:
        if isinstance(step, Group):
            return self.decide(step, deadline)
        time.sleep(step)
        return None

    def _decide(self, groups: Sequence[Group], deadline_at: float) -> list[Decision]:
        try:
            outcomes = self._carry(converse(groups, self._guess, self.settings.clock), deadline_at)
        except BackendError as error:
            return [undecided(group, error) for group in groups]
        # Without a guard and an idempotency key, the verdict on a group is a decision.
        decisions = cast("list[Decision | BackendError]", outcomes)
        if BackendError in map(type, decisions):
            pairs = zip(groups, decisions, strict=True)
            return [undecided(group, outcome) if isinstance(outcome, BackendError) else outcome for group, outcome in pairs]
        return cast("list[Decision]", decisions)

    def _carry(self, conversation: Conversation[T], deadline_at: float) -> T:
        """Carry out a conversation, and keep the connection for the next one unless it failed."""
        link = self._link(deadline_at)
        try:
            result = link.talk(conversation, deadline_at)
        except BaseException:
            link.close()
            raise
        self._idle.append(link)
        return result

    def _link(self, deadline_at: float) -> Link:
        if self._pid != os.getpid():
            # After a fork, the idle connections belong to the parent.
            self._idle, self._pid = deque(), os.getpid()
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return Link(self._connect(), deadline_at)
            if link.is_fresh:
                return link
            link.close()
