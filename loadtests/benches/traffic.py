"""What all benches decide on: a minute, an hour and a burst, for a thousand subjects."""

from __future__ import annotations

from limiter import Decision, Policy, SlidingWindow, TokenBucket

SUBJECTS = [f"key-{number}" for number in range(1000)]
CALLERS = 64
BATCH = 64

INCR = "return redis.call('INCR', KEYS[1])"
# A busy machine is no reason to give up on a call in the middle of a measurement.
PATIENT = 30.0

# Wide enough that all is admitted, however fast a machine is: a denial is cheaper, for others more than for us.
SECOND, MINUTE, HOUR = 100_000, 1_000_000, 50_000_000
REFILL = 60 * SECOND

POLICY = Policy("standard", [SlidingWindow(MINUTE, 60), SlidingWindow(HOUR, 3600), TokenBucket(SECOND, REFILL, "minute")])
# So narrow that a subject which has taken once is denied for the rest of the run.
DENYING = Policy("narrow", [SlidingWindow(1, 3600, "minute"), SlidingWindow(HOUR, 3600), TokenBucket(SECOND, REFILL, "minute")])


def read(decision: Decision) -> list[tuple[int, float]]:
    """What headers need: of each limit what remains, and in how many seconds it is whole again."""
    return [(state.remaining, state.reset_after) for state in decision.limits]
