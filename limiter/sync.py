"""`Limiter`: the library for threads. What it asks stands in `verbs.py`, what it says to Redis in `conversation.py`."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, Self, TypeVar, cast

import redis

from limiter.decision import Decision, LimitState
from limiter.errors import BackendError
from limiter.policy import Policy
from limiter.protocol.call import MOST_GROUPS, Clock
from limiter.protocol.conversation import Conversation, converse, erase
from limiter.protocol.group import Group
from limiter.protocol.server_clock import ServerClock
from limiter.settings import Settings, checked_seconds, pause, raised
from limiter.transport.connections import sync_factory
from limiter.transport.failure import undecided
from limiter.transport.link import Link
from limiter.verbs import Verbs, What

P = ParamSpec("P")
R = TypeVar("R")


class Limiter(Verbs[Decision, list[Decision]]):
    """Takes limits from Redis, from any number of threads and processes.

    `Limiter("redis://localhost")`, or `Limiter(redis.Redis(...))`: that client's way to connect, on connections of our own.
    Every answer comes within `deadline` seconds; `clock` is for tests.
    """

    def __init__(self, source: str | redis.Redis, *, prefix: str = "lim", deadline: float = 0.05, clock: Clock | None = None) -> None:
        self.settings = Settings(prefix, deadline, clock)
        self._connect = sync_factory(source)
        self._guess = ServerClock()
        self._idle: deque[Link] = deque()
        self._pid = os.getpid()

    def decide(self, group: Group, deadline: float | None = None) -> Decision:
        return self._decided([group], self.settings.deadline_at(deadline))[0]

    def decide_many(self, groups: Sequence[Group], deadline: float | None = None) -> list[Decision]:
        deadline_at = self.settings.deadline_at(deadline)
        decisions: list[Decision] = []
        for start in range(0, len(groups), MOST_GROUPS):
            decisions += self._decided(groups[start : start + MOST_GROUPS], deadline_at)
        return decisions

    def inspect(self, what: What, subject: str | None = None, *, account: str | None = None) -> tuple[LimitState, ...]:
        """How each limit stands."""
        return self.peek(what, subject, 0, account=account).limits

    def reset(self, what: What, subject: str | None = None, *, account: str | None = None) -> None:
        """Forget all that was counted."""
        self._carry(erase(self._group(what, subject, 0, account)), self.settings.deadline_at(None))

    def enforce(self, what: What, subject: str | None = None, cost: int = 1, *, account: str | None = None) -> Decision:
        """`take`, with a denial raised as LimitExceeded."""
        return raised(self.take(what, subject, cost, account=account))

    def wait(self, what: What, subject: str | None = None, cost: int = 1, *, timeout: float, account: str | None = None) -> Decision:
        """`take`, sleeping until admitted; the denial itself where that is not to be within `timeout` seconds."""
        until = time.monotonic() + checked_seconds(timeout, "timeout")
        while True:
            decision = self.take(what, subject, cost, account=account)
            seconds = pause(decision, until)
            if seconds is None:
                return decision
            time.sleep(seconds)

    def limited(self, policy: Policy, subject: str | Callable[P, str], cost: int = 1) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A decorator: `@limiter.limited(policy, lambda user: user.id)` takes before each call, and raises LimitExceeded."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            @wraps(function)
            def taking(*args: P.args, **kwargs: P.kwargs) -> R:
                self.enforce(policy, subject if isinstance(subject, str) else subject(*args, **kwargs), cost)
                return function(*args, **kwargs)

            return taking

        return decorate

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decided(self, groups: Sequence[Group], deadline_at: float) -> list[Decision]:
        try:
            outcomes = self._carry(converse(groups, self._guess, self.settings.clock), deadline_at)
        except BackendError as error:
            return [undecided(group, error) for group in groups]
        # Without a guard, a group's verdict is a decision.
        decisions = cast("list[Decision | BackendError]", outcomes)
        if BackendError in map(type, decisions):
            decisions = [
                undecided(group, told) if isinstance(told, BackendError) else told for group, told in zip(groups, decisions, strict=True)
            ]
        return cast("list[Decision]", decisions)

    def _carry(self, conversation: Conversation[R], deadline_at: float) -> R:
        """Only a link on which all went well goes back to the idle ones."""
        link = self._link(deadline_at)
        try:
            result = link.talk(conversation, deadline_at)
        except BaseException:
            link.close()
            raise
        self._idle.append(link)
        return result

    def _link(self, deadline_at: float) -> Link:
        """An idle one, or a new one."""
        if self._pid != os.getpid():
            # A fork's connections are its parent's.
            self._idle, self._pid = deque(), os.getpid()
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return Link(self._connect(), deadline_at)
            if link.is_fresh:
                return link
            link.close()
