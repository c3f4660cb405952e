"""A decision as response headers (draft-ietf-httpapi-ratelimit-headers, and the older X-RateLimit-*)."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from limiter.policy import Policy
from limiter.summary import NEVER, WIDTH, Row, summarize, whole_seconds

# X-RateLimit-Reset as seconds from now, or as a Unix time.
Reset = Literal["delta", "epoch"]


class Layout(NamedTuple):
    """What all decisions on the same policies share: their rows, and the headers with placeholders for the figures.

    If all limits are in shadow, they are the rows, and there are no headers.
    """

    rows: tuple[Row, ...]
    policy: str = ""
    rates: str = ""
    # All of the headers, as they are sent.
    lines: bytes = b""


# Bounded by its size; never invalidated, as policies do not change. With it, `Decision.headers` takes 2.5 us instead of 11.
@lru_cache(maxsize=1024)
def layout_of(policies: tuple[Policy, ...]) -> Layout:
    limits = [(charge, policy, limit) for charge, policy in enumerate(policies) for limit in policy.limits]
    every = [Row(WIDTH * place, limit.capacity, limit.name, limit, charge) for place, (charge, _, limit) in enumerate(limits)]
    enforced = [row for row in every if not row.limit.shadow]
    if not enforced:
        return Layout(tuple(every))
    names = _unique_names([(policies[row.charge].name, row.name) for row in enforced])
    stated = ", ".join(f'"{name}";q={row.capacity};w={row.limit.seconds}' for name, row in zip(names, enforced, strict=True))
    rates = ", ".join(f'"{name}";r=%d;t=%d' for name in names)
    lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in _named(stated, rates, "%d", "%d", "%d").items())
    rows = tuple(row._replace(name=name) for name, row in zip(names, enforced, strict=True))
    return Layout(rows, stated, rates, lines.encode())


def _named(policy: str, rates: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    return {
        "RateLimit-Policy": policy,
        "RateLimit": rates,
        "X-RateLimit-Limit": limit,
        "X-RateLimit-Remaining": remaining,
        "X-RateLimit-Reset": reset,
    }


def _unique_names(limits: Sequence[tuple[str, str]]) -> list[str]:
    """`minute`; `standard.minute` if another limit is named `minute` too; `standard.minute.2` for another subject of the policy."""
    uses = Counter(limit for _, limit in limits)
    names: dict[str, None] = {}
    for policy, limit in limits:
        name = wanted = limit if uses[limit] == 1 else f"{policy}.{limit}"
        count = 1
        while name in names:
            count += 1
            name = f"{wanted}.{count}"
        names[name] = None
    return list(names)


def shifted(figures: list[int], reset: Reset, decided_us: int) -> tuple[int, ...]:
    """The figures, with X-RateLimit-Reset as it is configured."""
    if reset == "epoch":
        figures[-1] += whole_seconds(decided_us)
    return tuple(figures)


def render(layout: Layout, allowed: bool, numbers: Sequence[int], reset: Reset, decided_us: int) -> dict[str, str]:
    """Without figures if nothing is known, as in a degraded decision, or nothing is enforced."""
    headers: dict[str, str] = {}
    if numbers and layout.lines:
        binding, figures = summarize(layout.rows, allowed, numbers)
        seconds = figures[-1]
        *rates, limit, remaining, reset_at = shifted(figures, reset, decided_us)
        headers = _named(layout.policy, layout.rates % tuple(rates), str(limit), str(remaining), str(reset_at))
        if not allowed and numbers[binding.at + 1] != NEVER:
            headers["Retry-After"] = str(seconds)
    if not allowed:
        headers["Cache-Control"] = "no-store"
    return headers
