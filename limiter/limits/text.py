"""Limits as text: `100/minute`, `5 per 30 seconds`, `burst 50, 1200/minute`, `quota 10000/day Europe/Berlin`."""

import re

from limiter.errors import InvalidPolicy, shown
from limiter.limits import Limit, Quota, SlidingWindow, TokenBucket

_NUMBER = "((?:[0-9]_?){0,29}[0-9])"
_RATE = f"{_NUMBER}(?: ?/ ?| per )"
_TIME = "([a-z0-9 ]+)"
_WINDOW = re.compile(f"{_RATE}{_TIME}")
_BURST = re.compile(f"burst {_NUMBER}, ?{_RATE}{_TIME}")
_QUOTA = re.compile(rf"quota {_RATE}([a-z]+)(?: from ([0-9]{{1,9}}))?(?: (\S+))?")
_SHADOW = "shadow "

# As in `100/h`. A single `m` may mean minute or month, so it needs a number before it.
_LETTERS = frozenset("shdw")

_FORMS = (
    "'100/minute', '5 per 30 seconds', '10/s', '5/min', '100/h', 'burst 50, 1200/minute' or 'quota 10000/month from 15 Europe/Berlin', "
    "optionally with 'shadow ' in front"
)


def parse_limit(text: str) -> Limit:
    """The limit that a text stands for: `"100/minute"` is `SlidingWindow(100, 60)`."""
    try:
        limit = _parsed(text.removeprefix(_SHADOW).strip(), shadow=text.startswith(_SHADOW)) if isinstance(text, str) else None
    except InvalidPolicy as error:
        raise InvalidPolicy(f"limit {shown(text)}: {error}") from None
    if limit is None:
        raise InvalidPolicy(f"limit must be text such as {_FORMS}, not {shown(text)}")
    return limit


def _parsed(text: str, *, shadow: bool) -> Limit | None:
    if match := _WINDOW.fullmatch(text):
        return SlidingWindow(int(match[1]), _duration(match[2]), shadow=shadow)
    if match := _BURST.fullmatch(text):
        return TokenBucket(int(match[1]), int(match[2]), _duration(match[3]), shadow=shadow)
    if match := _QUOTA.fullmatch(text):
        return Quota(int(match[1]), match[2], match[4] or "UTC", int(match[3] or 1), shadow=shadow)
    return None


def _duration(text: str) -> str:
    return f"1{text}" if text in _LETTERS else text
