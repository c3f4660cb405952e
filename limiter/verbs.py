"""The verbs of a limiter: what each of them asks, once for both clients. How it is decided is theirs.

`Answer` is a Decision for Limiter and an awaitable of one for AsyncLimiter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from limiter.charge import Charge
from limiter.policy import Policy
from limiter.protocol.group import Group, Operation, grouped
from limiter.settings import Settings

Answer = TypeVar("Answer")
Answers = TypeVar("Answers")

What = Policy | Charge | Iterable[Charge]


class Verbs(ABC, Generic[Answer, Answers]):
    settings: Settings

    @abstractmethod
    def decide(self, group: Group, deadline: float | None = None) -> Answer:
        """One group, charged as a whole or not at all."""

    @abstractmethod
    def decide_many(self, groups: Sequence[Group], deadline: float | None = None) -> Answers:
        """Each group by itself, in as few calls as may be."""

    def take(
        self,
        what: What,
        subject: str | None = None,
        cost: int = 1,
        *,
        account: str | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """Charge `cost` to every limit, or to none of them.

        `take(policy, "key-1")`, or several charges in one decision: `take([Charge(minute, "key-1"), Charge(daily, "acme")],
        account="acme")`. The account says where the counts are kept: use the same one for the same subject always.
        """
        return self.decide(grouped(self.settings.prefix, what, subject, cost, account, Operation.TAKE), deadline)

    def peek(
        self,
        what: What,
        subject: str | None = None,
        cost: int = 1,
        *,
        account: str | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """What `take` would answer now, with the numbers as they are: nothing is charged."""
        return self.decide(self._group(what, subject, cost, account, Operation.PEEK), deadline)

    def refund(
        self,
        what: What,
        subject: str | None = None,
        cost: int = 1,
        *,
        account: str | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """Give `cost` back to every limit, as far as it is in use: 3 back where 2 are in use is 2."""
        return self.decide(self._group(what, subject, cost, account, Operation.REFUND), deadline)

    def take_many(
        self,
        requests: Iterable[Charge | Sequence[Charge]],
        *,
        account: str | None = None,
        deadline: float | None = None,
    ) -> Answers:
        """A decision for each request, in order; each is a Charge, or several that are made together or not at all."""
        return self.decide_many([self._group(request, None, 1, account, Operation.TAKE) for request in requests], deadline)

    def _group(self, what: What, subject: str | None, cost: int, account: str | None, operation: Operation = Operation.TAKE) -> Group:
        return grouped(self.settings.prefix, what, subject, cost, account, operation)
