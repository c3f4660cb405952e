"""A charge: units to take from the limits of a policy, for a subject."""

import re
from dataclasses import dataclass, field

from limiter.errors import InvalidPolicy, shown
from limiter.policy import Policy

_MOST_UNITS = 2**53 - 1
LONGEST = 256

# Braces would move a key to another slot of a cluster; control characters and whitespace are hard to see in logs.
_PLAIN = re.compile(rf"[^\s{{}}\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{LONGEST}}}").fullmatch


def checked_subject(subject: object, what: str) -> str:
    """Subjects and accounts become part of Redis keys, so they are short and printable."""
    if isinstance(subject, str) and _PLAIN(subject):
        return subject
    given = f"{len(subject):,} characters" if isinstance(subject, str) and len(subject) > LONGEST else shown(subject)
    raise InvalidPolicy(
        f"{what} must be a str of 1 to {LONGEST} printable characters without whitespace and braces, not {given}: use a digest of it"
    )


@dataclass(frozen=True, slots=True)
class Subject:
    """`Subject("key-1", account="acme")`: a subject that knows its account. Use it wherever a subject is expected.

    Every verb then acts on the same counts, without `account=` in each call.
    """

    name: str
    account: str = field(kw_only=True)

    def __post_init__(self) -> None:
        checked_subject(self.name, "subject")
        checked_subject(self.account, "account")


@dataclass(frozen=True, slots=True, init=False)
class Charge:
    """`Charge(policy, "key-1", cost=3)`: three units of every limit of the policy, for key-1. A cost of 0 takes nothing and always fits.

    Without an account, counts are kept under the account of the decision, by default under the subject's own name.
    """

    policy: Policy
    subject: str
    cost: int = 1
    account: str | None = None

    def __init__(self, policy: Policy, subject: str | Subject, cost: int = 1, account: str | None = None) -> None:
        if not isinstance(policy, Policy):
            raise InvalidPolicy(f"policy must be a Policy, not {shown(policy)}")
        if account is not None:
            checked_subject(account, "account")
        if isinstance(subject, Subject):
            account = sole_account({subject.account, account or subject.account})
            subject = subject.name
        checked_subject(subject, "subject")
        if type(cost) is not int or not 0 <= cost <= _MOST_UNITS:
            raise InvalidPolicy(f"cost must be a whole number from 0 to {_MOST_UNITS:,}, not {shown(cost)}")
        put = object.__setattr__
        put(self, "policy", policy)
        put(self, "subject", subject)
        put(self, "cost", cost)
        put(self, "account", account)


def sole_account(accounts: set[str]) -> str:
    """The account of one decision. It has only one, so that all its keys are in one slot of a cluster."""
    if len(accounts) > 1:
        raise InvalidPolicy(f"charges of one decision must have one account, not {', '.join(map(shown, sorted(accounts)))}")
    return accounts.pop()
