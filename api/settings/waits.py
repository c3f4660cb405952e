"""Durations from 0s to 1h, in options and in the configuration."""

from limiter.errors import InvalidPolicy
from limiter.limits.durations import microseconds

ACCEPTED = "a duration from 0s to 1h, such as 10s"
_MOST_US = 3_600_000_000


def wait_of(text: str) -> float | None:
    """In seconds; None if it is not such a duration."""
    if text in {"0", "0s"}:
        return 0.0
    try:
        us = microseconds(float(text) if text.replace(".", "", 1).isdecimal() else text, "wait")
    except InvalidPolicy:
        return None
    return us / 1_000_000 if us <= _MOST_US else None
