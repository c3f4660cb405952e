"""A decision as response headers (draft-ietf-httpapi-ratelimit-headers, and the older X-RateLimit-*)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from limiter.policy import Policy

if TYPE_CHECKING:
    from limiter.decision import Decision

# X-RateLimit-Reset as seconds from now, or as a Unix time.
Reset = Literal["delta", "epoch"]

_NEVER = -1


class Row(NamedTuple):
    """An enforced limit: its name, and where its numbers begin in a decision's."""

    at: int
    capacity: int
    name: str


class Plan(NamedTuple):
    """What is the same in all decisions on some policies: RateLimit-Policy whole, and RateLimit but for the numbers."""

    rows: tuple[Row, ...]
    stated: str
    rates: str


@lru_cache(maxsize=1024)
def plan_of(policies: tuple[Policy, ...]) -> Plan:
    """A limit goes by its name, with its policy's before it if two policies share it."""
    limits = enumerate((policy, limit) for policy in policies for limit in policy.limits)
    enforced = [(at, policy, limit) for at, (policy, limit) in limits if not limit.shadow]
    plain = [limit.name for _, _, limit in enforced]
    names = [name if plain.count(name) == 1 else f"{policy.name}.{name}" for name, (_, policy, _) in zip(plain, enforced, strict=True)]
    rows = tuple(Row(3 * at, limit.capacity, name) for name, (at, _, limit) in zip(names, enforced, strict=True))
    stated = ", ".join(f'"{name}";q={limit.capacity};w={limit.seconds}' for name, (_, _, limit) in zip(names, enforced, strict=True))
    return Plan(rows, stated, ", ".join(f'"{name}";r=%d;t=%d' for name in names))


def headers_of(decision: Decision, reset: Reset) -> dict[str, str]:
    """Empty where nothing is known: in a degraded decision, or where every limit is in shadow."""
    allowed, numbers = decision.allowed, decision.numbers
    headers = {} if allowed else {"Cache-Control": "no-store"}
    rows, stated, rates = plan_of(tuple([charge.policy for charge in decision.charges]))
    if not numbers or not rows:
        return headers
    told: list[int] = []
    # As `decision.binding` has it: of a denial the limit that blocks longest, else the one with the least left.
    most, binding, at_binding, wait = (-(2**63), 0), 0, 0, 0
    for at, capacity, _ in rows:
        left, wait_us, reset_us = capacity - numbers[at], numbers[at + 1], numbers[at + 2]
        left = max(left, 0)
        rank = (-left, reset_us) if allowed else (wait_us == _NEVER, wait_us)
        if rank > most:
            most, binding, at_binding, wait = rank, capacity, len(told), wait_us
        # Of a limit that blocks, the time to wait: so that it and Retry-After are one number.
        told += (left, _whole(wait_us if wait_us > 0 else reset_us))
    left, seconds = told[at_binding : at_binding + 2]
    headers["RateLimit-Policy"] = stated
    headers["RateLimit"] = rates % tuple(told)
    headers["X-RateLimit-Limit"] = str(binding)
    headers["X-RateLimit-Remaining"] = str(left)
    headers["X-RateLimit-Reset"] = str(seconds if reset == "delta" else _whole(decision.decided_us) + seconds)
    if not allowed and wait != _NEVER:
        headers["Retry-After"] = str(seconds)
    return headers


def _whole(us: int) -> int:
    """Seconds, rounded up: 0 would invite at once."""
    return -(-us // 1_000_000)
