"""The traffic of all benches: limits of a minute, an hour and a burst, for a thousand subjects."""

from __future__ import annotations

from limiter import Decision, Policy, SlidingWindow, TokenBucket

SUBJECTS = [f"key-{number}" for number in range(1000)]
CALLERS = 64
BATCH = 64

INCR = "return redis.call('INCR', KEYS[1])"
# A call on a busy machine must not time out in the middle of a measurement.
PATIENT = 30.0

# High enough to admit everything on any machine: denials are cheaper, for other limiters more than for ours.
SECOND, MINUTE, HOUR = 100_000, 1_000_000, 50_000_000
REFILL = 60 * SECOND

POLICY = Policy("standard", [SlidingWindow(MINUTE, 60), SlidingWindow(HOUR, 3600), TokenBucket(SECOND, REFILL, "minute")])
# So low that a subject is denied for the rest of the run after one take.
DENYING = Policy("narrow", [SlidingWindow(1, 3600, "minute"), SlidingWindow(HOUR, 3600), TokenBucket(SECOND, REFILL, "minute")])


def read(decision: Decision) -> list[tuple[int, float]]:
    """The numbers for headers: what remains of each limit, and the seconds until it is unused again."""
    return [(state.remaining, state.reset_after) for state in decision.limits]
