"""What one decision asks of Redis: charges that are made together or not at all, and under which keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from limiter.charge import Charge, Subject, checked_subject, sole_account
from limiter.errors import InvalidPolicy
from limiter.policy import Policy

# What the script answers of one group has to fit Lua's stack, and Redis must not be held for long.
_MOST_CHARGES = 64


_MOST_KEPT = 4096


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


@dataclass(frozen=True, slots=True)
class Group:
    """Charges, each with the key of its state."""

    charges: tuple[Charge, ...]
    keys: tuple[bytes, ...]
    operation: Operation = Operation.TAKE
    guard: Guard | None = None
    # How many numbers answer it.
    width: int = field(init=False, compare=False, repr=False)
    # Room for the call that asks for this group alone: see `protocol.call_for`.
    lone: list[Any] = field(default_factory=list, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", 3 * sum(len(charge.policy.limits) for charge in self.charges))


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
    """The group that a call means: a policy and a subject, one charge, or several with an account."""
    if isinstance(what, Policy):
        if subject is None:
            raise InvalidPolicy(f"policy {what.name!r} needs a subject: take(policy, 'key-1')")
        try:
            return _plain(prefix, what, subject, cost, account, operation)
        except TypeError:
            # What cannot be hashed is not right either, and here is said why.
            return _together(prefix, (Charge(what, subject, cost, account),), None, operation)
    if subject is not None:
        raise InvalidPolicy(f"subject {subject!r} goes with a Policy; a Charge has its own")
    return _together(prefix, _charges(what), account, operation)


def _plain(prefix: str, policy: Policy, subject: str | Subject, cost: int, account: str | None, operation: Operation) -> Group:
    """The same subjects come again and again: their groups are kept with the policy."""
    kept, asked = policy.groups, (prefix, subject, cost, account, operation)
    group: Group | None = kept.get(asked) if type(cost) is int else None
    if group is None:
        group = _together(prefix, (Charge(policy, subject, cost, account),), None, operation)
        if len(kept) >= _MOST_KEPT:
            kept.clear()
        kept[asked] = group
    return group


def _together(prefix: str, charges: tuple[Charge, ...], account: str | None, operation: Operation) -> Group:
    if account is None:
        account = _common_account(charges)
    else:
        charges = _in_account(charges, checked_subject(account, "account"))
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


def _common_account(charges: tuple[Charge, ...]) -> str:
    """That of every charge; one that names none has its subject for an account."""
    if len(charges) == 1:
        return charges[0].account or charges[0].subject
    accounts = {charge.account or charge.subject for charge in charges}
    if len(accounts) > 1 and not any(charge.account for charge in charges):
        raise InvalidPolicy(
            f"subjects {', '.join(sorted(accounts))} in one decision need account=: it keeps their counts in one slot of a cluster"
        )
    return sole_account(accounts)


def _in_account(charges: tuple[Charge, ...], account: str) -> tuple[Charge, ...]:
    """With the account named by every charge, so that `decision.charges` can be refunded without it."""
    sole_account({account, *(charge.account for charge in charges if charge.account)})
    return tuple([charge if charge.account else Charge(charge.policy, charge.subject, charge.cost, account) for charge in charges])
