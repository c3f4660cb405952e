"""What one decision asks of Redis: charges that are made together or not at all, and under which keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

from limiter.charge import Charge, checked_subject
from limiter.errors import InvalidPolicy
from limiter.policy import Policy
from limiter.summary import WIDTH

# What the script answers of one group has to fit Lua's stack, and Redis must not be held for long.
_MOST_CHARGES = 64


class Operation(IntEnum):
    """As in `lua/take.lua`."""

    TAKE = 0
    PEEK = 1
    REFUND = 2


@dataclass(frozen=True, slots=True)
class Guard:
    """Refuse the group if the account's generation is not what the caller's knowledge of it was read at."""

    key: bytes
    generation: int


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Charges, each with the key of its state. Compared by identity, which is what `call_for` needs and costs least."""

    charges: tuple[Charge, ...]
    keys: tuple[bytes, ...]
    operation: Operation = Operation.TAKE
    guard: Guard | None = None
    # How many numbers answer it.
    width: int = field(init=False, repr=False)
    # Whether the same bytes are sent for it at all times.
    is_constant: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", WIDTH * sum([len(charge.policy.limits) for charge in self.charges]))
        object.__setattr__(self, "is_constant", all(charge.policy.wire.is_constant for charge in self.charges))


def state_key(prefix: str, account: str, charge: Charge) -> bytes:
    """`lim:{acme}:key-1:standard`: the braces keep an account's keys in one slot of a cluster."""
    return f"{prefix}:{{{account}}}:{charge.subject}:{charge.policy.name}".encode()


def grouped(
    prefix: str,
    what: Policy | Charge | Iterable[Charge],
    subject: str | None,
    cost: int,
    account: str | None,
    operation: Operation = Operation.TAKE,
) -> Group:
    """The group that a call means: a policy and a subject, one charge, or several with an account."""
    if isinstance(what, Policy):
        if subject is None:
            raise InvalidPolicy(f"policy {what.name!r} needs a subject: take(policy, 'key-1')")
        try:
            return _of_subject(prefix, what, subject, cost, account, operation)
        except TypeError:
            # An argument cannot be hashed, so it is not valid either. Charge says why.
            return _together(prefix, (Charge(what, subject, cost),), account, operation)
    if subject is not None:
        raise InvalidPolicy(f"subject {subject!r} goes with a Policy; a Charge has its own")
    return _together(prefix, _charges(what), account, operation)


# Bounded by its size; never invalidated, as a group does not change. Halves the time of a decision under load (8 us without it, 4 with it).
# Typed, as True and 1.0 are equal to a cost of 1 but not valid.
@lru_cache(maxsize=4096, typed=True)
def _of_subject(prefix: str, policy: Policy, subject: str, cost: int, account: str | None, operation: Operation) -> Group:
    return _together(prefix, (Charge(policy, subject, cost),), account, operation)


def _together(prefix: str, charges: tuple[Charge, ...], account: str | None, operation: Operation) -> Group:
    if account is not None:
        checked_subject(account, "account")
    else:
        account = charges[0].subject if len(charges) == 1 else _only_subject(charges)
    keys = tuple([state_key(prefix, account, charge) for charge in charges])
    if len(set(keys)) < len(keys):
        raise InvalidPolicy("one decision charges each policy and subject once: add the costs of the charges that share both")
    return Group(charges, keys, operation)


def _charges(what: Charge | Iterable[Charge]) -> tuple[Charge, ...]:
    if isinstance(what, Charge):
        return (what,)
    charges = tuple(what) if isinstance(what, Iterable) and not isinstance(what, str) else ()
    if not charges or not all(isinstance(charge, Charge) for charge in charges):
        raise InvalidPolicy(f"{what!r} is nothing to charge: use a Policy with a subject, a Charge, or a list of Charges")
    if len(charges) > _MOST_CHARGES:
        raise InvalidPolicy(f"{len(charges):,} charges in one decision: use at most {_MOST_CHARGES}; take_many decides any number of them")
    return charges


def _only_subject(charges: tuple[Charge, ...]) -> str:
    subjects = {charge.subject for charge in charges}
    if len(subjects) > 1:
        raise InvalidPolicy(
            f"subjects {', '.join(sorted(subjects))} in one decision need account=: it keeps their counts in one slot of a cluster"
        )
    return subjects.pop()
