"""Checks of values that all kinds of limit share."""

import re

from limiter.errors import InvalidPolicy, shown

_NAME = re.compile(r"[A-Za-z0-9_.*/-]{1,64}")

# The state in Redis holds counts in 32 bits.
MOST_UNITS = 2**32 - 1


def checked_name(name: object, what: str) -> str:
    """A name becomes part of Redis keys and of headers, so few characters are allowed."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidPolicy(f"{what} must be 1 to 64 letters, digits and _ . * / -, not {shown(name)}")
    return name


def checked_units(number: object, what: str, most: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        raise InvalidPolicy(f"{what} must be a whole number from 1 to {most:,}, not {shown(number)}")
