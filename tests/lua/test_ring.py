"""Rings hold the same entries as a log in plain Python, while they grow, wrap around and are cut."""

import itertools
import random
from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import Policy, SlidingWindow, TokenBucket
from support.clock import HOUR, MINUTE, NOON, SECOND
from support.drivers import a_subject
from support.examples import examples
from support.model import slice_of, us

# Entries of a log, including the newest.
MOST = 129


class Log:
    """The log of a sliding window: [last time, units in use] for each slice, oldest first."""

    def __init__(self, limit: SlidingWindow) -> None:
        self.limit, self.entries = limit, []

    @property
    def used(self) -> int:
        return sum(units for _, units in self.entries)

    def age(self, now: int) -> None:
        self.entries = [entry for entry in self.entries if entry[0] > now - us(self.limit.window)]

    def wait(self, now: int, cost: int) -> int:
        """The time until enough of the oldest entries have left."""
        over = self.used + cost - self.limit.capacity
        totals = itertools.accumulate(units for _, units in self.entries)
        return next(last - now + us(self.limit.window) for (last, _), total in zip(self.entries, totals, strict=True) if total >= over)

    def reset(self, now: int) -> int:
        return self.entries[-1][0] - now + us(self.limit.window) if self.entries else 0

    def take(self, now: int, cost: int) -> None:
        span = slice_of(self.limit)
        # A full log, which only a changed window can have, adds to its newest entry.
        if self.entries and (self.entries[-1][0] // span == now // span or len(self.entries) == MOST):
            self.entries[-1] = [now, self.entries[-1][1] + cost]
        else:
            self.entries.append([now, cost])

    def refund(self, now: int, units: int, at: int) -> None:
        """Gives back from the entry of that time, if it still counts, and from no other."""
        span = slice_of(self.limit)
        place = next((place for place, (last, _) in enumerate(self.entries) if last >= at), None)
        if place is None or at <= now - us(self.limit.window) or self.entries[place][0] // span != at // span:
            return
        self.entries[place][1] -= min(units, self.entries[place][1])
        if not self.entries[place][1]:
            del self.entries[place]


def expected(logs, verb, now, cost, **at):
    """The expected used, wait and reset of each limit after the call."""
    before, waits = deepcopy([log.entries for log in logs]), [0 for _ in logs]
    for log in logs:
        log.age(now)
    if verb == "take":
        waits = [log.wait(now, cost) if log.used + cost > log.limit.capacity else 0 for log in logs]
    if not any(waits):
        for log in logs:
            getattr(log, verb)(now, cost, **at)
    numbers = [(log.used, wait, log.reset(now)) for log, wait in zip(logs, waits, strict=True)]
    if any(waits):
        # A denial writes nothing and so removes no expired entry: a wider window may still cover it.
        for log, entries in zip(logs, before, strict=True):
            log.entries = entries
    return numbers


def states_by_log(decision, logs):
    """The decision's states of those limits."""
    states = {state.name: state for state in decision.limits}
    return [states[log.limit.name] for log in logs]


SPANS = (SECOND, 3 * SECOND, 7 * SECOND + 1, MINUTE, HOUR)


@examples(15)
@given(st.integers(0, 2**32), st.sampled_from((40, 300, 10_000)))
def test_rings_hold_what_a_plain_log_holds(limiter, clock, seed, capacity):
    """Two windows in one state: the second ring moves when the first grows. Edits change the windows and swap them."""
    chance = random.Random(seed)  # noqa: S311
    subject, spans = a_subject(), [chance.choice(SPANS) for _ in range(2)]
    windows = [SlidingWindow(capacity * (place + 1), span / SECOND, f"window-{place}") for place, span in enumerate(spans)]
    policy, logs, times = Policy("rings", windows), [Log(window) for window in windows], [NOON]
    clock.now_us = NOON
    for _ in range(500):
        if chance.random() < 0.03:
            windows = [replace(window, window=chance.choice(SPANS) / SECOND) if chance.random() < 0.4 else window for window in windows]
            policy = Policy("rings", chance.sample([*windows, TokenBucket(10**6, 10**6, "second")], 3))
            for log, window in zip(logs, windows, strict=True):
                log.limit = window
        slices = [slice_of(window) for window in windows]
        gaps = [0, 1, slices[0] // 3, slices[0] + 1, slices[1]]
        clock.now_us += chance.choice(gaps) if chance.random() < 0.97 else chance.randrange(max(us(window.window) for window in windows))
        cost = chance.choice((1, 1, 2, 7, 40))
        if chance.random() < 0.1:
            at = chance.choice(times[-chance.choice((1, 5, 50, 500)) :])
            decision = limiter.refund(policy, subject, cost, at=at / SECOND)
            numbers = expected(logs, "refund", clock.now_us, cost, at=at)
        else:
            decision = limiter.take(policy, subject, cost)
            numbers = expected(logs, "take", clock.now_us, cost)
            times.append(clock.now_us)
        assert [(state.used, state.wait_us, state.reset_us) for state in states_by_log(decision, logs)] == numbers


@pytest.mark.parametrize("window", ["10s", "hour"])
def test_a_window_changed_under_its_name_keeps_the_entries_of_a_full_ring(limiter, clock, window):
    """The size of a slice changes with the window. Admissions that no longer fit share entries: they count for longer, never shorter."""
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
    """The cost for Redis grows with the bytes of the strings that a script creates: a state of 2 KB is never read or written whole."""
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
    # The fields; one entry of the minute's ring that leaves and one that is added; occasionally one of the hour's.
    assert calls["getrange"] <= 100 + 100 + 10
    assert calls["setrange"] <= 100 + 100 + 10


def test_a_state_of_another_layout_counts_as_unused(limiter, client, clock):
    """Such as one of a later release, or a string of another program."""
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
