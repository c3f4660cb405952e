"""Waiting for events that happen elsewhere, in real time."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], what: str, within: float = 30.0):
    """Polls `condition` until its result is truthy, and returns the result."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.01)
    return result
