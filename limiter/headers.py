"""A decision as response headers (draft-ietf-httpapi-ratelimit-headers, and the older X-RateLimit-*)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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
    names = _names(states)
    headers["RateLimit-Policy"] = ", ".join(
        f'"{name}";q={state.capacity};w={state.limit.seconds}' for name, state in zip(names, states, strict=True)
    )
    headers["RateLimit"] = ", ".join(f'"{name}";r={state.remaining};t={_seconds(state)}' for name, state in zip(names, states, strict=True))
    seconds = _seconds(binding)
    headers["X-RateLimit-Limit"] = str(binding.capacity)
    headers["X-RateLimit-Remaining"] = str(binding.remaining)
    headers["X-RateLimit-Reset"] = str(seconds if reset == "delta" else _whole(decision.decided_us) + seconds)
    if not decision.allowed and binding.retry_after is not None:
        headers["Retry-After"] = str(seconds)
    return headers


def _seconds(state: LimitState) -> int:
    # Of a limit that blocks, the time to wait: so that it and Retry-After are one number. At least 1, as 0 would invite at once.
    return max(1, _whole(state.wait_us)) if state.wait_us > 0 else _whole(state.reset_us)


def _whole(us: int) -> int:
    return -(-us // 1_000_000)


def _names(states: tuple[LimitState, ...]) -> list[str]:
    """A limit's name, with its policy's before it where two charges have limits of one name."""
    names = [state.name for state in states]
    return [name if names.count(name) == 1 else f"{state.charge.policy.name}.{name}" for name, state in zip(names, states, strict=True)]
