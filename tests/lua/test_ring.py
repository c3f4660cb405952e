"""The rings of entries: told entry by entry what a log in plain Python holds, while they grow, turn and are cut short."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limiter import Policy, SlidingWindow, TokenBucket
from support.clock import MINUTE, NOON, SECOND
from support.drivers import a_subject
from support.model import slice_of, us


class Log:
    """Of a sliding window: [last time, units in use] for each slice, oldest first."""

    def __init__(self, limit: SlidingWindow) -> None:
        self.limit, self.entries = limit, []

    @property
    def used(self) -> int:
        return sum(units for _, units in self.entries)

    def age(self, now: int) -> None:
        self.entries = [entry for entry in self.entries if entry[0] > now - us(self.limit.window)]

    def wait(self, now: int, cost: int) -> int:
        """Until enough of the oldest have gone."""
        over = self.used + cost - self.limit.capacity
        totals = itertools.accumulate(units for _, units in self.entries)
        return next(last - now + us(self.limit.window) for (last, _), total in zip(self.entries, totals, strict=True) if total >= over)

    def take(self, now: int, cost: int) -> None:
        span = slice_of(self.limit)
        if self.entries and self.entries[-1][0] // span == now // span:
            self.entries[-1] = [now, self.entries[-1][1] + cost]
        else:
            self.entries.append([now, cost])

    def refund(self, units: int) -> None:
        while units and self.entries:
            given_back = min(units, self.entries[0][1])
            self.entries[0][1] -= given_back
            units -= given_back
            if not self.entries[0][1]:
                del self.entries[0]


def named(decision, logs):
    """The states of those limits."""
    states = {state.name: state for state in decision.limits}
    return [states[log.limit.name] for log in logs]


@settings(max_examples=12)
@given(st.integers(0, 2**32), st.sampled_from((SECOND, 999_999, MINUTE)), st.sampled_from((1, 3, 60)), st.sampled_from((40, 150, 10_000)))
def test_rings_hold_what_a_plain_log_holds(limiter, clock, seed, span, times, capacity):
    """Two windows in one state, so that the second ring moves when the first one grows; edits of the policy exchange them."""
    chance = random.Random(seed)  # noqa: S311
    first, second = SlidingWindow(capacity, span / SECOND, "first"), SlidingWindow(3 * capacity, times * span / SECOND, "second")
    burst = TokenBucket(10**6, 10**6, "second")
    policies = [Policy("rings", limits) for limits in ([first, second], [second, first], [burst, first, second])]
    policy, subject, logs = policies[0], a_subject(), [Log(first), Log(second)]
    gaps = [0, 1, slice_of(first) // 3, slice_of(first), slice_of(first) + 1, slice_of(second)]
    clock.now_us = NOON
    for _ in range(500):
        clock.now_us += chance.choice(gaps) if chance.random() < 0.97 else chance.randrange(span + 2)
        now, cost = clock.now_us, chance.choice((1, 1, 2, 7, 40))
        if chance.random() < 0.02:
            policy = chance.choice(policies)
        for log in logs:
            log.age(now)
        if chance.random() < 0.05:
            told = limiter.refund(policy, subject, cost)
            for log in logs:
                log.refund(cost)
        else:
            told = limiter.take(policy, subject, cost)
            waits = [log.wait(now, cost) if log.used + cost > log.limit.capacity else 0 for log in logs]
            assert [state.wait_us for state in named(told, logs)] == waits
            if not any(waits):
                for log in logs:
                    log.take(now, cost)
        states = named(told, logs)
        assert [state.used for state in states] == [log.used for log in logs]
        assert [state.reset_us for state in states] == [
            log.entries[-1][0] - now + us(log.limit.window) if log.entries else 0 for log in logs
        ]


@pytest.mark.parametrize("window", ["10s", "hour"])
def test_a_window_changed_under_its_name_keeps_the_entries_of_a_full_ring(limiter, clock, window):
    """Its slices change with it: what no longer fits shares entries, and is counted longer, never shorter."""
    subject, before = a_subject(), Policy("edited", [SlidingWindow(10_000, 60, "main")])
    clock.now_us = NOON
    for _ in range(128):
        clock.now_us += slice_of(before.limits[0])
        limiter.take(before, subject)
    after = Policy("edited", [SlidingWindow(10_000, window, "main")])
    step, span = slice_of(after.limits[0]), us(after.limits[0].window)
    kept = limiter.inspect(after, subject)[0].used
    assert kept == (128 if window == "hour" else 22)
    for _ in range(40):
        clock.now_us += step
        limiter.take(after, subject)
    least = 40 + sum(clock.now_us - (40 * step) - age * 468_750 > clock.now_us - span for age in range(128))
    assert least <= limiter.inspect(after, subject)[0].used <= kept + 40
    clock.now_us += span
    assert limiter.inspect(after, subject)[0].used == 0


def test_a_decision_reads_and_writes_little_of_a_full_ring(limiter, server, client, clock):
    """Redis's time goes by the bytes of the strings that a script makes: a state of 2 KB is never read or written whole."""
    policy, subject = Policy("read", [SlidingWindow(10**6, 60), SlidingWindow(10**6, 3600)]), a_subject()
    clock.now_us = NOON
    for _ in range(200):
        clock.now_us += 28_125_000
        limiter.take(policy, subject)
    for _ in range(200):
        clock.now_us += 468_750
        limiter.take(policy, subject)
    client.config_resetstat()
    for _ in range(100):
        clock.now_us += 468_750
        limiter.take(policy, subject)
    with server.client() as counter:
        calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in counter.info("commandstats").items()}
    assert "get" not in calls
    assert "set" not in calls
    # The head; an entry of the minute's ring that leaves and one that comes, and now and then one of the hour's.
    assert calls["getrange"] <= 100 + 100 + 10
    assert calls["setrange"] <= 100 + 100 + 10


def test_a_state_of_another_layout_counts_as_none(limiter, client, clock):
    """As one that a later release left behind, or that is none at all."""
    policy, subject = Policy("strange", [SlidingWindow(5, 60)]), a_subject()
    key = f"{limiter.settings.prefix}:{{{subject}}}:{subject}:strange"
    clock.now_us = NOON
    assert limiter.take(policy, subject, 5).allowed
    ours = client.get(key)
    for other in (b"\xff" * 200, b"x", b"", b"none of ours", b"\0" * 4 + ours[4:-1] + bytes([ours[-1] + 32])):
        client.set(key, other)
        assert limiter.take(policy, subject, 5).allowed
        assert not limiter.take(policy, subject).allowed
    assert client.get(key) == ours
