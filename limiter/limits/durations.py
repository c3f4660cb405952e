"""Durations: seconds or text at the edge, integer microseconds inside."""

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
_ABBREVIATED = {"sec": UNITS["second"], "min": UNITS["minute"], "hr": UNITS["hour"]}
_LETTERS = {"ms": 1000, "s": UNITS["second"], "m": UNITS["minute"], "h": UNITS["hour"], "d": UNITS["day"], "w": UNITS["week"]}
_WORDS = UNITS | _ABBREVIATED
_NAMES = {us: word for word, us in UNITS.items()}
# More than any limit accepts, and within what integers and floats hold exactly.
_TOO_LONG = 10**12
_TEXT = re.compile(rf"([0-9]{{1,12}}) ?({'|'.join(_LETTERS)}|(?:{'|'.join(_WORDS)})s?)")

_FORMS = "a number of seconds above 0, or text such as 'minute', '30s' or '15 minutes'"

Duration = float | str


def microseconds(value: Duration, what: str) -> int:
    """`60`, `"minute"`, `"60s"` and `"1 min"` are all 60,000,000."""
    if isinstance(value, str):
        return _from_text(value, what)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _TOO_LONG:
        raise InvalidPolicy(f"{what} must be {_FORMS}, not {shown(value)}")
    return round(value * SECOND)


def _from_text(text: str, what: str) -> int:
    if text in _WORDS:
        return _WORDS[text]
    match = _TEXT.fullmatch(text)
    us = int(match[1]) * (_LETTERS.get(match[2]) or _WORDS[match[2].removesuffix("s")]) if match else 0
    if us == 0:
        raise InvalidPolicy(f"{what} must be {_FORMS}, not {shown(text)}")
    return us


def name_of(us: int) -> str:
    """`minute` for 60 seconds, `90s` for 90, `1500ms` for one and a half."""
    if us in _NAMES:
        return _NAMES[us]
    if us % SECOND == 0:
        return f"{us // SECOND}s"
    return f"{us // 1000}ms" if us % 1000 == 0 else f"{us}us"
