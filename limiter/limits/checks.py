"""Checks that every kind of limit makes of its values."""

from __future__ import annotations

import re

from limiter.errors import InvalidPolicy, shown

_NAME = re.compile(r"[A-Za-z0-9_.*/-]{1,64}")

# The state in Redis holds counts in 32 bits.
MOST_UNITS = 2**32 - 1


def checked_name(name: object, what: str) -> str:
    """A name goes into keys and headers, so it is plain."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidPolicy(f"{what} {shown(name)}: use 1 to 64 letters, digits and _ . * / -")
    return name


def checked_units(number: object, what: str, most: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidPolicy(f"{what} {shown(number)} is not a whole number: use one from 1 to {most:,}")
    if not 1 <= number <= most:
        raise InvalidPolicy(f"{what} {shown(number)} is out of range: use a whole number from 1 to {most:,}")
