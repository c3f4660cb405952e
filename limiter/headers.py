"""A decision as response headers (draft-ietf-httpapi-ratelimit-headers, and the older X-RateLimit-*)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from limiter.policy import Policy

if TYPE_CHECKING:
    from limiter.decision import Decision, LimitState

# X-RateLimit-Reset as seconds from now, or as a Unix time.
Reset = Literal["delta", "epoch"]


def headers_of(decision: Decision, reset: Reset) -> dict[str, str]:
    """Empty where nothing is known: in a degraded decision, or where every limit is in shadow."""
    states, binding = decision.enforced, decision.binding
    headers = {} if decision.allowed else {"Cache-Control": "no-store"}
    if not states or binding is None:
        return headers
    names, headers["RateLimit-Policy"] = _stated(tuple([charge.policy for charge in decision.charges]))
    headers["RateLimit"] = ", ".join(
        [f'"{name}";r={state.remaining};t={_seconds(state)}' for name, state in zip(names, states, strict=True)]
    )
    seconds = _seconds(binding)
    headers["X-RateLimit-Limit"] = str(binding.capacity)
    headers["X-RateLimit-Remaining"] = str(binding.remaining)
    headers["X-RateLimit-Reset"] = str(seconds if reset == "delta" else _whole(decision.decided_us) + seconds)
    if not decision.allowed and binding.retry_after is not None:
        headers["Retry-After"] = str(seconds)
    return headers


@lru_cache(maxsize=1024)
def _stated(policies: tuple[Policy, ...]) -> tuple[list[str], str]:
    """The names of the enforced limits, a policy's before those that two policies share; and RateLimit-Policy, which is always the same."""
    limits = [(policy, limit) for policy in policies for limit in policy.limits if not limit.shadow]
    plain = [limit.name for _, limit in limits]
    names = [limit.name if plain.count(limit.name) == 1 else f"{policy.name}.{limit.name}" for policy, limit in limits]
    stated = [f'"{name}";q={limit.capacity};w={limit.seconds}' for name, (_, limit) in zip(names, limits, strict=True)]
    return names, ", ".join(stated)


def _seconds(state: LimitState) -> int:
    # Of a limit that blocks, the time to wait: so that it and Retry-After are one number. At least 1, as 0 would invite at once.
    return max(1, _whole(state.wait_us)) if state.wait_us > 0 else _whole(state.reset_us)


def _whole(us: int) -> int:
    return -(-us // 1_000_000)
