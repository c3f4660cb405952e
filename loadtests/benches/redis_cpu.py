"""Redis's CPU time per decision, compared with a bare EVALSHA of INCR, pipelined in the size of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import redis

from benches.private_redis import private_redis
from benches.rounds import Competitor, Effort, Measured, batches, interleave, spread
from benches.tables import Report, Table, Target
from benches.traffic import BATCH, DENYING, INCR, PATIENT, POLICY, SUBJECTS
from limiter import Charge, Decision, Limiter, Policy

SECOND_US = 1_000_000
# An arbitrary noon.
NOON_US = 1_800_014_400 * SECOND_US
HAMMERED_TAKES = 100_000

NOTE = (
    f"Batches of {BATCH}, three limits per decision. The last three use an injected clock: the quiet subject has taken a few times; the "
    "one at 100 a minute has done so for an hour; the hammered one has taken "
    f"{HAMMERED_TAKES:,} times, spread over its hour and its minute, and continues at a million a minute."
)


class RedisCpu:
    """Returns the CPU seconds that Redis's main thread has used, in user and in system mode."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def __call__(self) -> float:
        used = self._client.info("cpu")
        return float(used["used_cpu_user_main_thread"]) + float(used["used_cpu_sys_main_thread"])


class Clock:
    """Injected time, which stands still until it is set."""

    def __init__(self) -> None:
        self.now_us = NOON_US

    def __call__(self) -> int:
        return self.now_us


def bench(*, short: bool) -> Report:
    effort = Effort(0.05, 3) if short else Effort(0.2, 30)
    with private_redis() as url, Limiter(url, deadline=PATIENT) as limiter:
        competitors = [
            Competitor(f"floor: EVALSHA of one INCR, pipelined by {BATCH}", _pipelined(url)),
            Competitor("allowed", _taking(limiter, POLICY, allowed=True)),
            Competitor("denied", _taking(limiter, DENYING, allowed=False)),
            _quiet(url),
            _steady(url),
            _hammered(url, HAMMERED_TAKES // (10 if short else 1)),
        ]
        for charges in batches([Charge(DENYING, subject) for subject in SUBJECTS]):
            limiter.take_many(charges)
        measured = interleave(competitors, SUBJECTS, effort, RedisCpu(url))
    table = Table(
        "Redis's CPU for a decision", ["state", "CPU us", "x floor", "middle half"], [_row(each, measured[0]) for each in measured]
    )
    _, allowed, denied, quiet, steady, hammered = measured
    floor = measured[0]
    targets = [
        Target("Redis's CPU, allowed, of the floor", _ratio(allowed, floor), 3.5, at_most=True),
        Target("Redis's CPU, denied, of the floor", _ratio(denied, floor), 3.5, at_most=True),
        Target("Redis's CPU, hammered, of quiet", _ratio(hammered, quiet), 3, at_most=True),
        Target("Redis's CPU, at 1,000,000 a minute, of that at 100", _ratio(hammered, steady), 3, at_most=True),
    ]
    return Report("Redis's CPU", [table], targets, NOTE)


def _pipelined(url: str) -> Callable[[Sequence[str]], None]:
    client = redis.Redis.from_url(url)
    sha = client.script_load(INCR)

    def turn(subjects: Sequence[str]) -> None:
        for batch in batches(subjects):
            pipe = client.pipeline(transaction=False)
            for subject in batch:
                # As long as the keys of the limiter.
                pipe.evalsha(sha, 1, f"inc:{{{subject}}}:{subject}:standard")
            pipe.execute()

    return turn


def _taking(limiter: Limiter, policy: Policy, *, allowed: bool) -> Callable[[Sequence[str]], None]:
    def turn(subjects: Sequence[str]) -> None:
        for batch in batches(subjects):
            _check(limiter.take_many([Charge(policy, subject) for subject in batch]), allowed=allowed)

    return turn


def _check(decisions: Sequence[Decision], *, allowed: bool) -> None:
    assert all(decision.allowed == allowed for decision in decisions)


def _quiet(url: str) -> Competitor:
    """Its clock stands still during the measurement, so that no state grows."""
    clock = Clock()
    limiter = Limiter(url, prefix="quiet", deadline=PATIENT, clock=clock)
    for _ in range(3):
        clock.now_us += 7 * SECOND_US
        for charges in batches([Charge(POLICY, subject) for subject in SUBJECTS]):
            _check(limiter.take_many(charges), allowed=True)
    return Competitor("a quiet subject", _taking(limiter, POLICY, allowed=True))


def _steady(url: str) -> Competitor:
    clock = Clock()
    limiter = Limiter(url, prefix="steady", deadline=PATIENT, clock=clock)
    interval_us = 60 * SECOND_US // 100
    subjects = SUBJECTS[:BATCH]

    def all_take(cost: int) -> None:
        _check(limiter.take_many([Charge(POLICY, subject, cost) for subject in subjects]), allowed=True)

    # As many entries as an hour of such traffic, with fewer calls: older takes come 50 at a time, twice a minute.
    for _ in range(120):
        clock.now_us += 30 * SECOND_US
        all_take(50)
    for _ in range(100):
        clock.now_us += interval_us
        all_take(1)

    def turn(drawn: Sequence[str]) -> None:
        for _ in batches(drawn):
            clock.now_us += interval_us
            all_take(1)

    return Competitor("a subject at 100 a minute", turn)


def _hammered(url: str, takes: int) -> Competitor:
    clock = Clock()
    limiter = Limiter(url, prefix="hammered", deadline=PATIENT, clock=clock)

    def take(number: int, microseconds: int) -> None:
        """Takes that many times, spread evenly over that time."""
        calls = max(1, number // BATCH)
        for _ in range(calls):
            clock.now_us += microseconds // calls
            _check(limiter.take_many([Charge(POLICY, "hammered")] * BATCH), allowed=True)

    take(takes // 2, 3540 * SECOND_US)
    take(takes // 2, 60 * SECOND_US)
    return Competitor("a hammered subject", lambda drawn: take(len(drawn), len(drawn) * 60))


def _ratio(each: Measured, floor: Measured) -> float:
    return median(_ratios(each, floor))


def _ratios(each: Measured, floor: Measured) -> list[float]:
    return [one / other for one, other in zip(each.redis_us, floor.redis_us, strict=True)]


def _row(each: Measured, floor: Measured) -> list[str]:
    ratios = _ratios(each, floor)
    return [each.competitor.name, f"{median(each.redis_us):.2f}", f"{median(ratios):.2f}", spread(ratios)]
