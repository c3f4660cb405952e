"""A refund: the group that gives back what a take has charged, from where it was taken.

It says for each limit when it was charged. A window then gives back from the log entry of that time, a quota only in the same period, and a
bucket what it still lacks because of the charge. A limit in shadow that had no room was not charged, so it gives nothing back. Only the
decision knows this: if the caller kept only the time, no limit in shadow gives anything back.
"""

from collections.abc import Iterable, Sequence
from struct import pack

from limiter.charge import Charge, Subject
from limiter.decision import Decision
from limiter.errors import InvalidPolicy, shown
from limiter.policy import Policy
from limiter.protocol.group import Group, Operation, grouped
from limiter.summary import WIDTH

_NOT_CHARGED = -1.0
# Seconds. Below this, a float is exact to the microsecond.
_LATEST = 2**32


def refund_of(prefix: str, decision: Decision, cost: int | None) -> Group | None:
    """The refund of a decision, or of `cost` units of each of its charges; None if it charged nothing."""
    if not decision.charged:
        return None
    charges = decision.charges if cost is None else [_part(charge, cost) for charge in decision.charges]
    times = [_NOT_CHARGED if wait else decision.decided_us for wait in decision.numbers[1::WIDTH]]
    return _refunding(grouped(prefix, charges, None, 1, None, Operation.REFUND), times)


def refund_at(
    prefix: str, what: Policy | Charge | Iterable[Charge], subject: str | Subject | None, cost: int, account: str | None, at: object
) -> Group:
    """The refund of units that were taken `at` this time, in seconds."""
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < _LATEST:
        raise InvalidPolicy(
            f"at must be the time of the take in seconds, such as decision.at, not {shown(at)}; or pass the decision: refund(decision)"
        )
    group = grouped(prefix, what, subject, cost, account, Operation.REFUND)
    at_us = round(at * 1_000_000)
    return _refunding(group, [_NOT_CHARGED if limit.shadow else at_us for charge in group.charges for limit in charge.policy.limits])


def _part(charge: Charge, cost: int) -> Charge:
    part = Charge(charge.policy, charge.subject, cost, charge.account)
    if cost > charge.cost:
        raise InvalidPolicy(f"cost must be at most the {charge.cost:,} that the decision took, not {cost:,}")
    return part


def _refunding(group: Group, times: Sequence[float]) -> Group:
    return Group(group.charges, group.keys, group.operation, charged_at=pack(f">{len(times)}d", *times))
