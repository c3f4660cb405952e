"""The sliding window: no window holds more than its capacity, and hardly any admits less."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limiter import Policy, SlidingWindow
from support.clock import HOUR, MINUTE, NOON, SECOND
from support.drivers import a_subject
from support.examples import examples
from support.model import slice_of, us
from support.traffic import SPANS, STARTS, assert_decided_as_promised, sliding_windows, traffic


@examples(100)
@given(st.data())
def test_no_window_holds_more_than_the_capacity_under_any_traffic(limiter, clock, data):
    limit = data.draw(sliding_windows)
    start = data.draw(st.sampled_from(STARTS) | st.integers(NOON, NOON + HOUR))
    assert_decided_as_promised(limiter, clock, [limit], start, data.draw(traffic([limit])))


def admitted_when_spaced(limiter, clock, limit, spacing, times, cost=1):
    """How many of `times` requests are admitted if the client keeps to the rate."""
    policy, subject = Policy("spaced", [limit]), a_subject()
    admitted = 0
    for _ in range(times):
        admitted += limiter.take(policy, subject, cost).allowed
        clock.now_us += spacing
    return admitted


@examples(40)
@given(st.integers(1, 100), st.sampled_from(SPANS), st.integers(0, MINUTE))
@example(100, 1000, 0)
@example(100, MINUTE, 0)
@example(97, MINUTE + 7, 3)
def test_a_client_spaced_at_the_rate_is_never_denied_up_to_a_capacity_of_100(limiter, clock, capacity, span, offset):
    clock.now_us = NOON + offset
    times = 2 * capacity + 3
    assert admitted_when_spaced(limiter, clock, SlidingWindow(capacity, span / SECOND), -(-span // capacity), times) == times


@pytest.mark.parametrize(("capacity", "cost"), [(101, 1), (1000, 1), (10_000, 10), (1_000_000, 777), (2**32 - 1, 2**22)])
def test_a_client_spaced_at_the_rate_is_hardly_ever_denied_above_a_capacity_of_100(limiter, clock, capacity, cost):
    clock.now_us = NOON + 1
    spacing = -(-MINUTE * cost // capacity)
    times = 3 * capacity // cost
    assert admitted_when_spaced(limiter, clock, SlidingWindow(capacity, 60), spacing, times, cost) >= 0.99 * times


def test_all_admissions_of_a_slice_expire_together(limiter, clock):
    limit, subject = SlidingWindow(2, 60), a_subject()
    policy, step = Policy("slice", [limit]), slice_of(limit)
    clock.now_us = NOON - NOON % step
    limiter.take(policy, subject)
    clock.now_us += step - 1
    limiter.take(policy, subject)
    clock.now_us += 1
    assert us(limiter.take(policy, subject).retry_after) == MINUTE - 1


@given(st.integers(1, 1000), st.sampled_from(SPANS), st.integers(0, MINUTE))
def test_after_a_full_burst_the_next_burst_is_admitted_within_129_128ths_of_the_window(limiter, clock, capacity, span, offset):
    limit = SlidingWindow(capacity, span / SECOND)
    policy, subject = Policy("burst", [limit]), a_subject()
    clock.now_us = NOON + offset
    assert limiter.take(policy, subject, capacity).allowed
    denied = limiter.take(policy, subject)
    assert not denied.allowed
    assert denied.retry_after <= limit.window + slice_of(limit) / SECOND
    clock.now_us += span + slice_of(limit)
    assert limiter.take(policy, subject, capacity).allowed


@given(st.lists(st.tuples(st.integers(0, MINUTE), st.booleans()), min_size=200, max_size=300))
@examples(10)
def test_a_hammered_window_keeps_at_most_129_entries(limiter, client, clock, steps):
    """An entry takes 9 bytes, the rest at most 60. Steps are up to 1/50 of a slice, or just over a slice."""
    limit = SlidingWindow(10**6, 60)
    policy, subject = Policy("hammered", [limit]), a_subject()
    key = f"{limiter.settings.prefix}:{{{subject}}}:{subject}:hammered"
    clock.now_us = NOON
    for gap, wide in steps:
        clock.now_us += slice_of(limit) + gap % 1000 if wide else gap // 6400
        limiter.take(policy, subject)
        assert client.strlen(key) <= 60 + 129 * 9
