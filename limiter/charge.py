"""A charge: units to take from the limits of a policy, for a subject."""

from __future__ import annotations

import re
from dataclasses import dataclass

from limiter.errors import InvalidPolicy, shown
from limiter.policy import Policy

_MOST_UNITS = 2**53 - 1
_LONGEST = 256

# Braces would move a key to another slot of a cluster; control characters and whitespace are hard to see in logs.
_PLAIN = re.compile(rf"[^\s{{}}\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{_LONGEST}}}").fullmatch


def checked_subject(subject: object, what: str) -> str:
    """Subjects and accounts become part of Redis keys, so they are short and printable."""
    if isinstance(subject, str) and _PLAIN(subject):
        return subject
    given = f"{len(subject):,} characters" if isinstance(subject, str) and len(subject) > _LONGEST else shown(subject)
    raise InvalidPolicy(
        f"{what} must be a str of 1 to {_LONGEST} printable characters without whitespace and braces, not {given}: use a digest of it"
    )


@dataclass(frozen=True, slots=True)
class Charge:
    """`Charge(policy, "key-1", cost=3)`: three units of every limit of the policy, for key-1. A cost of 0 takes nothing and always fits."""

    policy: Policy
    subject: str
    cost: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.policy, Policy):
            raise InvalidPolicy(f"policy must be a Policy, not {shown(self.policy)}")
        checked_subject(self.subject, "subject")
        if type(self.cost) is not int or not 0 <= self.cost <= _MOST_UNITS:
            raise InvalidPolicy(f"cost must be a whole number from 0 to {_MOST_UNITS:,}, not {shown(self.cost)}")
