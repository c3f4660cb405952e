"""A group: charges that are made together or not at all, and the Redis keys of their states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from limiter.charge import Charge, Subject, checked_subject, sole_account
from limiter.errors import InvalidPolicy, shown
from limiter.policy import Policy
from limiter.summary import WIDTH

# The reply for one group has to fit Lua's stack, and Redis must not be blocked for long.
_MOST_CHARGES = 64


# A line of a call: operation, policy, cost. The operation of the first line of a group is marked.
LINE = Struct(">BHd").pack
NEW_GROUP = 16


class Operation(IntEnum):
    """As in `lua/take.lua`. The last two stand before charges."""

    TAKE = 0
    PEEK = 1
    REFUND = 2
    GUARD = 3
    ONCE = 4


# Plain numbers, as an addition to a member of an enumeration is slow.
_GUARD, _ONCE = Operation.GUARD + NEW_GROUP, Operation.ONCE + NEW_GROUP


class Guard(NamedTuple):
    """Reject the group if the account has changed: its generation is not the one that the caller has cached."""

    key: bytes
    generation: int

    @property
    def line(self) -> bytes:
        return LINE(_GUARD, 0, self.generation)


@dataclass(frozen=True, slots=True)
class Once:
    """Charge the group once, however often it is sent with this key. The digest tells it from other groups."""

    key: bytes
    digest: int

    @property
    def line(self) -> bytes:
        return LINE(_ONCE, 0, self.digest)


@dataclass(slots=True, eq=False)
class Group:
    """Charges, each with the key of its state. Compared by identity, which is what `call_for` needs and costs least.

    Never changed, though not frozen: to make a frozen one takes four times as long.
    """

    charges: tuple[Charge, ...]
    keys: tuple[bytes, ...]
    operation: Operation = Operation.TAKE
    # What has to hold before it is charged.
    guard: Guard | Once | None = None
    # For a refund: the time at which each limit was charged, packed (see `refund.py`).
    charged_at: bytes = b""
    # The length of its reply.
    width: int = field(init=False, repr=False)
    # Whether it charges, if it is allowed.
    takes: bool = field(init=False, repr=False)
    # Whether the same bytes are sent for it at all times, and more than once.
    is_constant: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.width = WIDTH * sum([len(charge.policy.limits) for charge in self.charges])
        self.takes = self.operation == Operation.TAKE
        # A refund or a group with an idempotency key is seldom sent again, and would only displace others from the cache.
        seldom = self.charged_at or isinstance(self.guard, Once)
        self.is_constant = not seldom and all(charge.policy.wire.is_constant for charge in self.charges)

    def under(self, guard: Guard) -> Group:
        """The same charges under a guard that is used once. `replace` takes 3 us, this 0.2."""
        group = Group.__new__(Group)
        group.charges, group.keys, group.operation = self.charges, self.keys, self.operation
        group.guard, group.charged_at, group.width, group.takes = guard, self.charged_at, self.width, self.takes
        group.is_constant = False
        return group


def state_key(prefix: str, account: str, charge: Charge) -> bytes:
    """`lim:{acme}:key-1:standard`: the braces keep an account's keys in one slot of a cluster."""
    return f"{prefix}:{{{account}}}:{charge.subject}:{charge.policy.name}".encode()


def grouped(
    prefix: str,
    what: Policy | Charge | Iterable[Charge],
    subject: str | Subject | None,
    cost: int,
    account: str | None,
    operation: Operation = Operation.TAKE,
) -> Group:
    """The group for the arguments of a verb: a policy and a subject, one charge, or several with an account."""
    if isinstance(what, Policy):
        if subject is None:
            raise InvalidPolicy(f"a Policy must come with a subject, as in take(policy, 'key-1'), not {what.name!r} alone")
        try:
            return _of_subject(prefix, what, subject, cost, account, operation)
        except TypeError:
            # An argument cannot be hashed, so it is not valid either. Charge says why.
            return _together(prefix, (Charge(what, subject, cost, account),), None, operation)
    if subject is not None:
        raise InvalidPolicy(f"subject must be given with a Policy only, not {shown(subject)} with a Charge, which has its own")
    return _together(prefix, _charges(what), account, operation)


# Bounded by its size; never invalidated, as a group does not change. Halves the time of a decision under load (8 us without it, 4 with it).
# Typed, as True and 1.0 are equal to a cost of 1 but not valid.
@lru_cache(maxsize=4096, typed=True)
def _of_subject(prefix: str, policy: Policy, subject: str | Subject, cost: int, account: str | None, operation: Operation) -> Group:
    return _together(prefix, (Charge(policy, subject, cost, account),), None, operation)


def _together(prefix: str, charges: tuple[Charge, ...], account: str | None, operation: Operation) -> Group:
    if account is None:
        account = _common_account(charges)
    else:
        charges = _in_account(charges, checked_subject(account, "account"))
    keys = tuple([state_key(prefix, account, charge) for charge in charges])
    if len(set(keys)) < len(keys):
        raise InvalidPolicy("charges of one decision must differ in policy or subject: add up the costs of those that share both")
    return Group(charges, keys, operation)


def _charges(what: Charge | Iterable[Charge]) -> tuple[Charge, ...]:
    if isinstance(what, Charge):
        return (what,)
    charges = tuple(what) if isinstance(what, Iterable) and not isinstance(what, str) else ()
    if not charges or not all(isinstance(charge, Charge) for charge in charges):
        raise InvalidPolicy(f"expected a Policy with a subject, a Charge, or a list of Charges, not {shown(what)}")
    if len(charges) > _MOST_CHARGES:
        raise InvalidPolicy(f"charges of one decision must be at most {_MOST_CHARGES}, not {len(charges):,}: use take_many")
    return charges


def _common_account(charges: tuple[Charge, ...]) -> str:
    """A charge that names no account belongs to the account of its subject's name."""
    if len(charges) == 1:
        return charges[0].account or charges[0].subject
    accounts = {charge.account or charge.subject for charge in charges}
    if len(accounts) > 1 and not any(charge.account for charge in charges):
        raise InvalidPolicy(
            f"account= must be given with several subjects ({shown(sorted(accounts))}): it keeps their counts in one slot of a cluster"
        )
    return sole_account(accounts)


def _in_account(charges: tuple[Charge, ...], account: str) -> tuple[Charge, ...]:
    """Charges that all name the account, so that `decision.charges` can be refunded without it."""
    sole_account({account, *(charge.account for charge in charges if charge.account)})
    return tuple([charge if charge.account else Charge(charge.policy, charge.subject, charge.cost, account) for charge in charges])
