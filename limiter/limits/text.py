"""Limits as text, for configuration: `100/minute`, `burst 50, 1200/minute`, `quota 10000/day Europe/Berlin`."""

import re

from limiter.errors import InvalidPolicy, shown
from limiter.limits import Limit, Quota, SlidingWindow, TokenBucket

_NUMBER = r"([0-9_]{1,30})"
_TIME = r"([a-z0-9 ]+?)"
_WINDOW = re.compile(rf"{_NUMBER} ?/ ?{_TIME}")
_BURST = re.compile(rf"burst {_NUMBER}, ?{_NUMBER} ?/ ?{_TIME}")
_QUOTA = re.compile(rf"quota {_NUMBER} ?/ ?([a-z]+)(?: from (\d+))?(?: (\S+))?")
_SHADOW = "shadow "

_FORMS = "'100/minute', 'burst 50, 1200/minute', 'quota 10000/month from 15 Europe/Berlin', each with 'shadow ' before it or not"


def parse_limit(text: str) -> Limit:
    """The limit that a text means: `"100/minute"` is `SlidingWindow(100, 60)`."""
    if not isinstance(text, str):
        raise InvalidPolicy(f"limit {shown(text)} is {type(text).__name__}, not str: write it as {_FORMS}")
    shadow = text.startswith(_SHADOW)
    stated = text.removeprefix(_SHADOW).strip()
    try:
        if match := _WINDOW.fullmatch(stated):
            return SlidingWindow(int(match[1]), match[2], shadow=shadow)
        if match := _BURST.fullmatch(stated):
            return TokenBucket(int(match[1]), int(match[2]), match[3], shadow=shadow)
        if match := _QUOTA.fullmatch(stated):
            return Quota(int(match[1]), match[2], match[4] or "UTC", int(match[3] or 1), shadow=shadow)
    except ValueError as error:
        raise InvalidPolicy(f"limit {shown(text)}: {error}") from None
    raise InvalidPolicy(f"limit {shown(text)} is not understood: write it as {_FORMS}")
