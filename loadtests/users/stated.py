"""What the headers of a response state about limits.

Read are `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers from version 8 on), `X-RateLimit-*`, and the `RateLimit-*`
of older drafts. A limit is recognised by its capacity, and by its window where that is stated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

from limiter.limits import Limit

# An item is a name in quotes with parameters, as in RateLimit-Policy: "minute";q=100;w=60
_ITEM = re.compile(r'"([^"]*)"((?:\s*;\s*[a-z]+=[^;,]*)*)')
_PARAMETER = re.compile(r"([a-z]+)=([0-9]{1,15})(?![0-9])")

Headers = Mapping[str, str]


def remaining(headers: Headers, limits: Sequence[Limit]) -> tuple[float, ...]:
    """For each limit, the most that any header states."""
    by_policy = _of_policies(headers)
    binding = (stated_capacity(headers), _number(headers, "X-RateLimit-Remaining", "RateLimit-Remaining"))
    alike = sum(limit.capacity == binding[0] for limit in limits)
    found = []
    for limit in limits:
        stated = [left for capacity, seconds, left in by_policy if (capacity, seconds) == (limit.capacity, limit.seconds)]
        if limit.capacity == binding[0] and alike == 1:
            stated.append(binding[1])
        found.append(max((each for each in stated if not math.isnan(each)), default=math.nan))
    return tuple(found)


def stated_capacity(headers: Headers) -> float:
    return _number(headers, "X-RateLimit-Limit", "RateLimit-Limit")


def _of_policies(headers: Headers) -> list[tuple[int, int, float]]:
    """Capacity, window and remaining units of each policy."""
    policies, rates = _items(headers.get("RateLimit-Policy")), _items(headers.get("RateLimit"))
    return [
        (policy["q"], policy["w"], float(rates[name]["r"]))
        for name, policy in policies.items()
        if {"q", "w"} <= policy.keys() and "r" in rates.get(name, {})
    ]


def _items(value: str | None) -> dict[str, dict[str, int]]:
    return {name: {key: int(number) for key, number in _PARAMETER.findall(rest)} for name, rest in _ITEM.findall(value or "")}


def _number(headers: Headers, *names: str) -> float:
    for name in names:
        # Older drafts allow more after the first number: `100, 100;w=60`.
        if match := re.match(r"\s*([0-9]{1,15})\s*(?:[,;]|$)", headers.get(name) or ""):
            return float(match[1])
    return math.nan


def retry_after(headers: Headers, now: float) -> float:
    """Seconds from now. A date has whole seconds, by the server's clock if the response states it."""
    value = (headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", value):
        return float(value)
    until = _time(value)
    return math.nan if until is None else max(0.0, until - (_time(headers.get("Date") or "") or now))


def _time(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
