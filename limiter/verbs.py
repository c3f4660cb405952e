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
from limiter.errors import BackendError, IdempotencyConflict, InvalidPolicy, shown
from limiter.limits.checks import checked_name
from limiter.policy import Policy
from limiter.protocol.call import Clock
from limiter.protocol.group import Group, Operation, grouped
from limiter.protocol.idempotency import once
from limiter.protocol.refund import refund_at, refund_of

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

# While Redis does not answer, `wait` asks again after this many seconds, then after twice as many each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5

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
    def _follow(self, steps: Steps[Any], deadline: float | None = None) -> Any: ...

    def take(
        self,
        what: Chargeable,
        subject: SubjectLike = None,
        cost: int = 1,
        *,
        account: str | None = None,
        deadline: float | None = None,
        idempotency_key: str | None = None,
    ) -> DecisionT:
        """Charge `cost` to every limit, or to none of them.

        `take(policy, "key-1")` charges one subject. Several charges are decided together:
        `take([Charge(minute, "key-1"), Charge(daily, "acme")], account="acme")`.

        With an `idempotency_key`, such as a UUID, you can repeat a take that got no answer: the same take with the same key charges once in
        10 minutes, and the repetition returns the first decision. A denied take charged nothing, so a repetition decides anew. The key
        belongs to the account; with other charges in the same account it raises IdempotencyConflict.
        """
        return self._decide_once(grouped(self.settings.prefix, what, subject, cost, account, Operation.TAKE), deadline, idempotency_key)

    def peek(
        self, what: Chargeable, subject: SubjectLike = None, cost: int = 1, *, account: str | None = None, deadline: float | None = None
    ) -> DecisionT:
        """Decide like `take`, but charge nothing. The numbers are those without the charge."""
        return self.decide(grouped(self.settings.prefix, what, subject, cost, account, Operation.PEEK), deadline)

    def refund(
        self,
        what: Decision | Chargeable,
        subject: SubjectLike = None,
        cost: int | None = None,
        *,
        at: float | None = None,
        account: str | None = None,
        deadline: float | None = None,
        idempotency_key: str | None = None,
    ) -> DecisionT:
        """Give back what a take has charged: `refund(decision)`, or a part of it: `refund(decision, cost=900)`.

        The units go back to where they were taken: to their place in a sliding window, to the period of a quota, and to a bucket less what
        has refilled since. So a refund never admits more than if the units had not been taken, and units that no longer count give nothing.

        A decision that charged nothing (`decision.charged` is false: it was denied, degraded, a peek or a refund) is returned unchanged,
        and nothing is sent. Refund a decision once, or in parts that add up to its cost: what was given back is not
        remembered. With an `idempotency_key`, as for `take`, a repeated refund gives back once.

        If you kept only the time: `refund(policy, "key-1", 5, at=decision.at)`, with the arguments of the take. It gives nothing back to
        limits in shadow, because the time does not say whether they had room.
        """
        prefix = self.settings.prefix
        if not isinstance(what, Decision):
            return self._decide_once(refund_at(prefix, what, subject, 1 if cost is None else cost, account, at), deadline, idempotency_key)
        if (subject, at, account) != (None, None, None):
            raise InvalidPolicy("subject, at and account must not be given with a Decision, which has its own: use refund(decision, cost=)")
        group = refund_of(prefix, what, cost)
        unchanged: DecisionT = self._follow(_unchanged(what)) if group is None else self._decide_once(group, deadline, idempotency_key)
        return unchanged

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
        """Like `take`, but sleep until admitted. Return the denial at once if that would take more than `timeout` seconds.

        It peeks first, and takes when there is room. If Redis does not answer the peek, which charges nothing, it asks again until
        `timeout` is over, then returns or raises what `take` would; a policy with `failure="open"` admits at once. The take itself is not
        repeated if its answer is missing, since it may have been charged: its degraded decision is returned, or its error raised.
        """
        seconds = _checked_seconds(timeout, "timeout")
        decision: DecisionT = self._follow(_waited(self._group(what, subject, cost, account), seconds))
        return decision

    def _decide_once(self, group: Group, deadline: float | None, idempotency_key: str | None) -> DecisionT:
        if idempotency_key is None:
            return self.decide(group, deadline)
        decision: DecisionT = self._follow(_decided_once(once(group, idempotency_key)), deadline)
        return decision

    def _group(
        self, what: Chargeable, subject: SubjectLike, cost: int, account: str | None, operation: Operation = Operation.TAKE
    ) -> Group:
        return grouped(self.settings.prefix, what, subject, cost, account, operation)


def _inspected(group: Group) -> Steps[tuple[LimitState, ...]]:
    decision: Decision = yield group
    return decision.limits


def _decided_once(group: Group) -> Steps[Decision]:
    decision: Decision | IdempotencyConflict = yield group
    if isinstance(decision, IdempotencyConflict):
        raise decision
    return decision


def _enforced(group: Group) -> Steps[Decision]:
    decision: Decision = yield group
    if not decision.allowed:
        raise LimitExceeded(decision)
    return decision


def _unchanged(decision: Decision) -> Steps[Decision]:
    yield from ()
    return decision


def _waited(take: Group, timeout: float) -> Steps[Decision]:
    until, pause = time.monotonic() + timeout, _FIRST_PAUSE
    peek = Group(take.charges, take.keys, Operation.PEEK)
    while True:
        seconds = pause
        try:
            decision: Decision = yield peek
        except BackendError:
            if time.monotonic() + pause > until:
                raise
        else:
            if decision.allowed and not decision.degraded:
                decision = yield take
                if decision.degraded:
                    return decision
            retry_after = pause if decision.degraded else decision.retry_after
            if decision.allowed or retry_after is None or time.monotonic() + retry_after > until:
                return decision
            seconds = retry_after
        yield seconds
        pause = min(2 * pause, _LONGEST_PAUSE)
