"""What the tests of all frameworks look at in a response."""

import re
from collections.abc import Iterable
from typing import NamedTuple


class Reply(NamedTuple):
    status: int
    headers: dict[str, list[str]]
    body: bytes

    @property
    def left(self) -> dict[str, int]:
        """What is left by the header RateLimit: `{"minute": 4}`."""
        (rates,) = self.headers.get("ratelimit", [""])
        return {name: int(left) for name, left in re.findall(r'"([^"]+)";r=(\d+)', rates)}


def reply(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Reply:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return Reply(status, found, body)
