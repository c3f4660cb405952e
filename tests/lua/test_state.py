"""The state of a subject: it is small, it expires, and counts survive every edit of the policy."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import Charge, Limiter, Policy, Quota, SlidingWindow, TokenBucket
from limiter.protocol.group import state_key
from support.clock import DAY, HOUR, MINUTE, NOON, SECOND
from support.drivers import a_subject
from support.examples import examples
from support.traffic import STARTS, mixed, traffic
from support.waiting import eventually


def minute_hour_burst(capacity: int) -> Policy:
    limits = [SlidingWindow(capacity, 60), SlidingWindow(capacity, 3600), TokenBucket(capacity, capacity, "minute")]
    return Policy("standard", limits)


@pytest.fixture
def memory_of(client, limiter):
    def memory_of(policy, subject):
        return client.memory_usage(state_key(limiter.settings.prefix, subject, Charge(policy, subject)), samples=0)

    return memory_of


@pytest.mark.parametrize("capacity", [10, 10**9])
def test_a_quiet_subject_takes_at_most_300_bytes(limiter, clock, memory_of, capacity):
    policy, subject = minute_hour_burst(capacity), "key-1"
    limiter.reset(policy, subject)
    clock.now_us = NOON
    for _ in range(5):
        assert limiter.take(policy, subject).allowed
        assert memory_of(policy, subject) <= 300
        clock.now_us += 3 * SECOND


def test_a_subject_hammered_for_an_hour_takes_at_most_3072_bytes(limiter, clock, memory_of):
    """100,000 requests spread over both windows: every slice of the hour and of the last minute has an entry."""
    policy, subject = minute_hour_burst(10**9), "key-1"
    limiter.reset(policy, subject)
    clock.now_us = NOON
    admitted = 0
    for step, times in [(HOUR // 1600, 60)] * 1600 + [(MINUTE // 200, 20)] * 200:
        clock.now_us += step
        admitted += sum(decision.allowed for decision in limiter.take_many([Charge(policy, subject)] * times))
        assert memory_of(policy, subject) <= 3072
    assert admitted == 100_000
    assert [state.used for state in limiter.inspect(policy, subject)][:2] == pytest.approx([4000, 98_500], rel=0.05)


@examples(30)
@given(st.data())
def test_every_key_expires(limiter, client, clock, data):
    """Not before all limits are unused, and at most 1/128 of a window late; plus the day that is added if time is injected."""
    limits = data.draw(mixed(least=1))
    policy, subject, longest = Policy("expires", limits), a_subject(), 0
    key = state_key(limiter.settings.prefix, subject, Charge(policy, subject))
    clock.now_us = data.draw(st.sampled_from(STARTS))
    for gap, cost, times in data.draw(traffic(limits, least=4)):
        clock.now_us += gap
        decisions = limiter.take_many([Charge(policy, subject, cost)] * times)
        if times == 2:
            decisions.append(limiter.refund(policy, subject, cost, at=clock.now_us / SECOND))
        lasts = [max(state.reset_us for state in decision.limits) / 1000 for decision in decisions]
        longest = max(longest, *lasts)
        if decisions[-1].allowed and client.exists(key):
            # The 60 seconds are for a slow machine: keys expire in real time.
            assert lasts[-1] + DAY / 1000 - 60_000 < client.pttl(key) <= longest * 129 / 128 + 100 + DAY / 1000


def test_no_key_remains_after_the_longest_window(server, client, prefix):
    """In real time, with short windows."""
    policy = Policy("short", [SlidingWindow(1000, 0.3), SlidingWindow(5, 0.001, "instant"), TokenBucket(100, 500, "second")])
    with Limiter(server.url, prefix=prefix, deadline=10) as limiter:
        limiter.take_many([Charge(policy, f"key-{n}") for n in range(300)])
        limiter.take(policy, "key-0")
        limiter.take([Charge(policy, "a"), Charge(policy, "b")], account="acme")
        limiter.refund(limiter.take(policy, "key-1"))
        lasts = [client.pttl(key) for key in client.scan_iter(f"{prefix}:*", count=10_000)]
        assert lasts
        # -1 is a key without an expiry, -2 one that has expired since.
        assert all(last == -2 or 0 <= last <= 305 for last in lasts)
        eventually(lambda: not list(client.scan_iter(f"{prefix}:*", count=10_000)), "no key")


def test_writing_a_state_again_extends_its_expiry(server, client, prefix):
    """In real time: the state was first written for a minute; the limit that is added later needs it for a day."""
    minute, day = SlidingWindow(10, 60), SlidingWindow(10, "day")
    with Limiter(server.url, prefix=prefix, deadline=10) as limiter:
        limiter.take(Policy("grown", [minute]), "key")
        (key,) = client.scan_iter(f"{prefix}:*", count=10_000)
        assert 59_000 < client.pttl(key) <= 60_000 * 129 / 128 + 1
        limiter.take(Policy("grown", [minute, day]), "key")
        assert 86_399_000 < client.pttl(key) <= 86_400_000 * 129 / 128 + 1


def test_an_expiry_is_rounded_up_so_that_no_count_is_lost_early(server, prefix):
    """In real time. The shortest window lasts one millisecond: a key that expired at once would admit everything."""
    policy = Policy("instant", [SlidingWindow(10, 0.001)])
    with Limiter(server.url, prefix=prefix, deadline=10) as limiter:
        decisions = limiter.take_many([Charge(policy, "key")] * 100)
        assert [decision.allowed for decision in decisions] == [True] * 10 + [False] * 90


@examples(60)
@given(st.data())
def test_an_edit_keeps_the_counts_of_the_remaining_limits(limiter, clock, data):
    """Limits are raised, lowered, added, removed and reordered at once, after any traffic; and again after the next charge."""
    limits, subject = data.draw(mixed(least=1)), a_subject()
    policy = Policy("edited", limits)
    clock.now_us = data.draw(st.sampled_from(STARTS))
    for gap, cost, times in data.draw(traffic(limits, least=4)):
        clock.now_us += gap
        limiter.take_many([Charge(policy, subject, cost)] * times)
    before = {state.name: state for state in limiter.inspect(policy, subject)}

    kept = data.draw(st.permutations(limits))[: data.draw(st.integers(1, len(limits)))]
    changed = [replace(limit, capacity=data.draw(st.sampled_from((1, limit.capacity, 200)))) for limit in kept]
    added = [SlidingWindow(10_000, "2h", "added"), Quota.daily(10_000, name="new")][: data.draw(st.integers(0, 2))]
    edited = Policy("edited", data.draw(st.permutations(changed + added)))

    for state in limiter.inspect(edited, subject):
        old = before.get(state.name)
        assert (state.used, state.reset_us) == ((old.used, old.reset_us) if old else (0, 0))
    charged = limiter.take(edited, subject)
    for state in limiter.inspect(edited, subject):
        old = before.get(state.name)
        assert state.used == (old.used if old else 0) + charged.allowed


def test_raising_a_limit_admits_a_denied_client_at_once(limiter, clock):
    subject = a_subject()
    clock.now_us = NOON
    limiter.take(Policy("standard", [SlidingWindow(10, 60)]), subject, 10)
    assert not limiter.take(Policy("standard", [SlidingWindow(10, 60)]), subject).allowed
    assert limiter.take(Policy("standard", [SlidingWindow(15, 60)]), subject, 5).allowed
    assert not limiter.take(Policy("standard", [SlidingWindow(15, 60)]), subject).allowed


def test_a_lowered_limit_denies_until_the_new_capacity_has_room(limiter, clock):
    subject, lowered = a_subject(), Policy("standard", [SlidingWindow(3, 60)])
    clock.now_us = NOON
    for _ in range(10):
        limiter.take(Policy("standard", [SlidingWindow(10, 60)]), subject)
        clock.now_us += SECOND
    denied = limiter.take(lowered, subject)
    assert (denied.limits[0].used, denied.remaining, denied.retry_after) == (10, 0, 57.0)
    clock.now_us += 57 * SECOND
    assert limiter.take(lowered, subject).allowed


def test_an_added_limit_counts_from_the_edit_on(limiter, clock):
    subject, day = a_subject(), Quota.daily(100)
    clock.now_us = NOON
    limiter.take(Policy("standard", [SlidingWindow(10, 60)]), subject, 7)
    decision = limiter.take(Policy("standard", [day, SlidingWindow(10, 60)]), subject, 2)
    assert [state.used for state in decision.limits] == [2, 9]


def test_a_limit_that_changes_its_kind_starts_unused(limiter, clock):
    subject = a_subject()
    clock.now_us = NOON
    limiter.take(Policy("standard", [SlidingWindow(10, 60, "rate")]), subject, 7)
    decision = limiter.take(Policy("standard", [TokenBucket(10, 1, name="rate")]), subject, 4)
    assert (decision.allowed, decision.limits[0].used) == (True, 4)


def test_a_renamed_policy_starts_unused(limiter, clock):
    subject = a_subject()
    clock.now_us = NOON
    limiter.take(Policy("standard", [SlidingWindow(10, 60)]), subject, 10)
    assert limiter.take(Policy("premium", [SlidingWindow(10, 60)]), subject).allowed


@pytest.mark.parametrize("window", ["10s", "minute", "hour"])
def test_a_named_limit_that_changes_its_window_keeps_the_admissions_it_still_covers(limiter, clock, window):
    subject = a_subject()
    clock.now_us = NOON
    for _ in range(6):
        limiter.take(Policy("standard", [SlidingWindow(100, 60, "main")]), subject)
        clock.now_us += 5 * SECOND
    edited = Policy("standard", [SlidingWindow(100, window, "main")])
    assert limiter.inspect(edited, subject)[0].used == (1 if window == "10s" else 6)
    assert limiter.take(edited, subject).limits[0].used == (2 if window == "10s" else 7)
    clock.now_us += 61 * SECOND
    assert limiter.inspect(edited, subject)[0].used == (7 if window == "hour" else 0)


def test_two_versions_of_a_policy_share_their_counts(limiter, clock):
    """As during the rollout of a configuration: each decision counts for both versions, also within a batch."""
    subject = a_subject()
    old = Policy("standard", [SlidingWindow(10, 60), SlidingWindow(100, 3600)])
    new = Policy("standard", [SlidingWindow(100, 3600), SlidingWindow(12, 60)])
    clock.now_us = NOON
    decisions = limiter.take_many([Charge(policy, subject) for policy in (old, new) * 6])
    assert [[state.used for state in decision.limits] for decision in decisions[:2]] == [[1, 1], [2, 2]]
    assert [decision.allowed for decision in decisions] == [True] * 10 + [False, True]
