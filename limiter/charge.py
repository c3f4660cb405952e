"""A charge: what is to be counted, against whom, under which policy."""

from __future__ import annotations

import re
from dataclasses import dataclass

from limiter.errors import InvalidPolicy, shown
from limiter.policy import Policy

_MOST_UNITS = 2**53 - 1
_LONGEST = 256

# Braces would move a key to another slot of a cluster; control characters and blanks would hide in logs.
_PLAIN = re.compile(rf"[^\s{{}}\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{_LONGEST}}}").fullmatch


def checked_subject(subject: object, what: str) -> str:
    """Whom a policy is applied to: short, printable text; anything else belongs in a digest."""
    if isinstance(subject, str) and _PLAIN(subject):
        return subject
    remedy = f"use 1 to {_LONGEST} printable characters without blanks and braces, or a digest of it"
    if not isinstance(subject, str):
        raise InvalidPolicy(f"{what} {shown(subject)} is {type(subject).__name__}, not str: {remedy}")
    if not subject:
        raise InvalidPolicy(f"{what} '' is empty: {remedy}")
    if len(subject) > _LONGEST:
        raise InvalidPolicy(f"{what} {shown(subject)} has {len(subject):,} characters: {remedy}")
    raise InvalidPolicy(f"{what} {shown(subject)} has a blank, a brace or a control character: {remedy}")


@dataclass(frozen=True, slots=True)
class Charge:
    """`Charge(policy, "key-1", cost=3)`: three units of the policy's every limit, for key-1. Cost 0 only looks."""

    policy: Policy
    subject: str
    cost: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.policy, Policy):
            raise InvalidPolicy(f"policy {self.policy!r} is {type(self.policy).__name__}, not Policy: build it with Policy(name, limits)")
        checked_subject(self.subject, "subject")
        if type(self.cost) is not int or not 0 <= self.cost <= _MOST_UNITS:
            raise InvalidPolicy(f"cost {shown(self.cost)} cannot be charged: use a whole number from 0 to {_MOST_UNITS:,}")
