"""Lengths of time: seconds, or a word, at the edge; integer microseconds inside."""

import re

from limiter.errors import InvalidPolicy, shown

SECOND = 1_000_000
UNITS = {
    "second": SECOND,
    "minute": 60 * SECOND,
    "hour": 3600 * SECOND,
    "day": 86400 * SECOND,
    "week": 7 * 86400 * SECOND,
}
_SHORT = {"ms": 1000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86400 * SECOND, "w": 7 * 86400 * SECOND}
_NAMES = {us: word for word, us in UNITS.items()}
# Beyond any limit's own bound, and far from what numbers can hold.
_TOO_LONG = 10**12
_TEXT = re.compile(r"([0-9]{1,12}) ?(ms|[smhdw]|(?:second|minute|hour|day|week)s?)")

Duration = float | str


def microseconds(value: Duration, what: str) -> int:
    """`60`, `"minute"`, `"60s"` and `"1 minute"` are all 60,000,000."""
    if isinstance(value, str):
        return _from_text(value, what)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _TOO_LONG:
        raise InvalidPolicy(f"{what} {shown(value)} is no length of time: use seconds above 0, or a word such as 'minute' or '30s'")
    return round(value * SECOND)


def _from_text(text: str, what: str) -> int:
    if text in UNITS:
        return UNITS[text]
    match = _TEXT.fullmatch(text)
    if not match:
        raise InvalidPolicy(f"{what} {shown(text)} is no length of time: use one of {', '.join(UNITS)}, or a number with s, m, h, d or w")
    number, unit = match.groups()
    us = int(number) * (_SHORT.get(unit) or UNITS[unit.removesuffix("s")])
    if us == 0:
        raise InvalidPolicy(f"{what} {shown(text)} is no time at all: use at least 1ms")
    return us


def name_of(us: int) -> str:
    """`minute` for 60 seconds, `90s` for 90, `1500ms` for one and a half."""
    if us in _NAMES:
        return _NAMES[us]
    if us % SECOND == 0:
        return f"{us // SECOND}s"
    return f"{us // 1000}ms" if us % 1000 == 0 else f"{us}us"
