"""The methods of a limiter, written once for both clients. `Limiter` returns results; `AsyncLimiter` returns coroutines.

A group is the charges of one decision, with the Redis key of each (`protocol/group.py`). A verb decides one group, or runs a generator of
steps (`protocol/driver.py`). The clients (`sync.py`, `aio.py`) implement `decide`: they send the call of `protocol/call.py`.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from limiter.charge import Charge, Subject
from limiter.decision import Decision, LimitExceeded, LimitState
from limiter.errors import InvalidPolicy, shown
from limiter.limits.checks import checked_name
from limiter.policy import Policy
from limiter.protocol.call import Clock
from limiter.protocol.group import Group, Operation, grouped

# What the verbs return: a Decision, a list of Decisions, the limit states, None. In `AsyncLimiter`, a coroutine of it.
DecisionT = TypeVar("DecisionT")
DecisionsT = TypeVar("DecisionsT")
StatesT = TypeVar("StatesT")
NoneT = TypeVar("NoneT")
T = TypeVar("T")

Chargeable = Policy | Charge | Iterable[Charge]
SubjectLike = str | Subject | None

# A step is a group to decide (the decision is sent into the generator) or a number of seconds to sleep.
Step = Group | float
Steps = Generator[Step, Any, T]

# As long as poll(2) can wait.
_MOST_SECONDS = 2_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """`deadline` is in seconds. `clock`, for tests, returns microseconds that replace Redis's time."""

    prefix: str
    deadline: float
    clock: Clock | None

    def __post_init__(self) -> None:
        checked_name(self.prefix, "prefix")
        _checked_seconds(self.deadline, "deadline")

    def deadline_of(self, deadline: float | None) -> float:
        return self.deadline if deadline is None else _checked_seconds(deadline, "deadline")

    def deadline_at(self, deadline: float | None) -> float:
        """The end of a deadline on the monotonic clock."""
        return time.monotonic() + self.deadline_of(deadline)


def _checked_seconds(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST_SECONDS:
        raise InvalidPolicy(f"{what} must be a number of seconds above 0 and up to {_MOST_SECONDS:,}, not {shown(value)}")
    return value


class Verbs(ABC, Generic[DecisionT, DecisionsT, StatesT, NoneT]):
    """Verbs take a policy with a subject, a Charge, or several charges that are decided together.

    Counts are kept per account. The default account has the same name as the subject. After a take with an account, the other verbs need
    the same account to act on the same counts: pass a `Subject("key-1", account="acme")`, the charges of the decision, or `account=`.
    Where a verb accepts `deadline`, in seconds, it replaces that of the limiter for one call.
    """

    settings: Settings

    @abstractmethod
    def decide(self, group: Group, deadline: float | None = None) -> DecisionT:
        """Decide one group: all of its charges are made, or none."""

    @abstractmethod
    def decide_many(self, groups: Sequence[Group], deadline: float | None = None) -> DecisionsT:
        """Decide each group on its own, in as few calls as possible."""

    @abstractmethod
    def _erase(self, group: Group) -> NoneT: ...

    @abstractmethod
    def _follow(self, steps: Steps[Any]) -> Any: ...

    def take(
        self, what: Chargeable, subject: SubjectLike = None, cost: int = 1, *, account: str | None = None, deadline: float | None = None
    ) -> DecisionT:
        """Charge `cost` to every limit, or to none of them.

        `take(policy, "key-1")` charges one subject. Several charges are decided together:
        `take([Charge(minute, "key-1"), Charge(daily, "acme")], account="acme")`.
        """
        return self.decide(grouped(self.settings.prefix, what, subject, cost, account, Operation.TAKE), deadline)

    def peek(
        self, what: Chargeable, subject: SubjectLike = None, cost: int = 1, *, account: str | None = None, deadline: float | None = None
    ) -> DecisionT:
        """Decide like `take`, but charge nothing. The numbers are those without the charge."""
        return self.decide(grouped(self.settings.prefix, what, subject, cost, account, Operation.PEEK), deadline)

    def refund(
        self, what: Chargeable, subject: SubjectLike = None, cost: int = 1, *, account: str | None = None, deadline: float | None = None
    ) -> DecisionT:
        """Give `cost` back to every limit, but never more than is in use. `refund(decision.charges)` undoes a take."""
        return self.decide(grouped(self.settings.prefix, what, subject, cost, account, Operation.REFUND), deadline)

    def take_many(
        self, requests: Iterable[Charge | Sequence[Charge]], *, account: str | None = None, deadline: float | None = None
    ) -> DecisionsT:
        """Return one decision for each request, in order. A request is a Charge, or several that are decided together."""
        return self.decide_many([self._group(request, None, 1, account) for request in requests], deadline)

    def inspect(self, what: Chargeable, subject: SubjectLike = None, *, account: str | None = None) -> StatesT:
        """Return the state of each limit. `blocks` and `retry_after` refer to one more unit, or to the costs of the given charges."""
        states: StatesT = self._follow(_inspected(self._group(what, subject, 1, account, Operation.PEEK)))
        return states

    def reset(self, what: Chargeable, subject: SubjectLike = None, *, account: str | None = None) -> NoneT:
        """Delete all counts."""
        return self._erase(self._group(what, subject, 0, account))

    def enforce(self, what: Chargeable, subject: SubjectLike = None, cost: int = 1, *, account: str | None = None) -> DecisionT:
        """Like `take`, but raise LimitExceeded on a denial."""
        decision: DecisionT = self._follow(_enforced(self._group(what, subject, cost, account)))
        return decision

    def wait(
        self, what: Chargeable, subject: SubjectLike = None, cost: int = 1, *, timeout: float, account: str | None = None
    ) -> DecisionT:
        """Like `take`, but sleep until admitted. Return the denial at once if that would take more than `timeout` seconds."""
        seconds = _checked_seconds(timeout, "timeout")
        decision: DecisionT = self._follow(_retried(self._group(what, subject, cost, account), seconds))
        return decision

    def _group(
        self, what: Chargeable, subject: SubjectLike, cost: int, account: str | None, operation: Operation = Operation.TAKE
    ) -> Group:
        return grouped(self.settings.prefix, what, subject, cost, account, operation)


def _inspected(group: Group) -> Steps[tuple[LimitState, ...]]:
    decision: Decision = yield group
    return decision.limits


def _enforced(group: Group) -> Steps[Decision]:
    decision: Decision = yield group
    if not decision.allowed:
        raise LimitExceeded(decision)
    return decision


def _retried(group: Group, timeout: float) -> Steps[Decision]:
    until = time.monotonic() + timeout
    while True:
        decision: Decision = yield group
        seconds = decision.retry_after
        if decision.allowed or seconds is None or time.monotonic() + seconds > until:
            return decision
        yield seconds
