"""The token bucket is exact to the microsecond at every rate."""

import signal

from hypothesis import example, given
from hypothesis import strategies as st

from limiter import Limiter, Policy, Quota, TokenBucket
from support.clock import DAY, HOUR, MINUTE, NOON, SECOND, Clock
from support.drivers import a_subject
from support.examples import examples
from support.servers.redis_server import redis_server
from support.traffic import SPANS, STARTS, assert_decided_as_promised, token_buckets, traffic


@examples(100)
@given(st.data())
def test_no_interval_admits_more_than_the_capacity_and_the_refill(limiter, clock, data):
    """The model counts in exact fractions, and the bucket admits and denies as it does."""
    limit = data.draw(token_buckets)
    start = data.draw(st.sampled_from(STARTS) | st.integers(NOON, NOON + HOUR))
    assert_decided_as_promised(limiter, clock, [limit], start, data.draw(traffic([limit])))


@examples(40)
@given(st.integers(1, 3), st.integers(1, 100), st.sampled_from(SPANS))
@example(1, 7, MINUTE)
@example(1, 3, 1000)
def test_a_client_spaced_at_the_rate_is_never_denied(limiter, clock, capacity, refill, span):
    """Requests come at whole microseconds, also if a unit takes a fractional number of them."""
    policy, subject = Policy("spaced", [TokenBucket(capacity, refill, span / SECOND)]), a_subject()
    for n in range(refill + 10):
        clock.now_us = NOON + n * -(-span // refill)
        assert limiter.take(policy, subject).allowed, n


@examples(40)
@given(st.integers(2, 4), st.integers(1, 100), st.sampled_from(SPANS))
@example(2, 7, MINUTE)
def test_a_client_that_keeps_exactly_to_a_fractional_rate_is_never_denied(limiter, clock, capacity, refill, span):
    """The n-th request comes n * per / refill after the first, rounded up; one spare unit absorbs the rounding."""
    policy, subject = Policy("fractions", [TokenBucket(capacity, refill, span / SECOND)]), a_subject()
    for n in range(refill + 10):
        clock.now_us = NOON - (-n * span // refill)
        assert limiter.take(policy, subject).allowed, n


def test_seven_a_minute_do_not_drift_in_a_day(limiter, clock):
    """A seventh of a minute is not a whole number of microseconds: rounding each of 10,080 units would add up to milliseconds."""
    policy, subject = Policy("seven", [TokenBucket(7, 7, "minute")]), a_subject()
    clock.now_us = NOON
    assert limiter.take(policy, subject, 7).allowed
    for minute in range(1, 1441):
        clock.now_us = NOON + minute * MINUTE - 1
        assert not limiter.peek(policy, subject, 7).allowed
        clock.now_us += 1
        assert limiter.take(policy, subject, 7).allowed


def test_units_are_back_as_soon_as_they_are_due(limiter, clock):
    """Dividing 1,000 us by the time of a unit gives slightly less than 15 in floating point."""
    policy, subject = Policy("due", [TokenBucket(30, 15, 0.001)]), a_subject()
    clock.now_us = NOON
    limiter.take(policy, subject, 30)
    clock.now_us += 1000
    assert limiter.inspect(policy, subject)[0].used == 15
    assert limiter.take(policy, subject, 15).allowed
    assert limiter.refund(policy, subject, 30, at=NOON / SECOND).limits[0].used == 15


def test_an_idle_bucket_fills_to_its_capacity_and_no_further(limiter, clock):
    policy, subject = Policy("idle", [TokenBucket(5, 1, "second"), Quota.monthly(1000)]), a_subject()
    clock.now_us = NOON
    limiter.take(policy, subject, 5)
    clock.now_us += HOUR
    assert limiter.inspect(policy, subject)[0].remaining == 5
    assert not limiter.take(policy, subject, 6).allowed
    assert limiter.take(policy, subject, 5).allowed
    assert not limiter.take(policy, subject, 1).allowed


def test_the_fastest_bucket_beside_a_monthly_quota_is_decided_at_once():
    """Billions of units a second over a month exceed the precision of a double: the bucket must not correct for it unit by unit."""
    policy, clock = Policy("fastest", [TokenBucket(10**7, 2**32 - 1, "second"), Quota.monthly(10**15 - 1)]), Clock()
    with redis_server() as own, Limiter(own.url, clock=clock, deadline=2) as limiter:
        try:
            for odd in range(200):
                subject = a_subject()
                clock.now_us = 1_767_225_600_000_000 + odd * 9973
                limiter.take(policy, subject, 10**7)
                clock.now_us += 26 * DAY + odd * (4 * DAY // 200)
                assert limiter.take(policy, subject, 10**7).allowed
        finally:
            # A server whose script does not end ignores other signals.
            own.send(signal.SIGKILL)


def test_a_slower_refill_applies_to_units_that_are_already_missing(limiter, clock):
    subject = a_subject()
    clock.now_us = NOON
    limiter.take(Policy("edited", [TokenBucket(10, 10, "second")]), subject, 10)
    slower = Policy("edited", [TokenBucket(10, 1, "second")])
    denied = limiter.take(slower, subject)
    assert (denied.limits[0].used, denied.retry_after, denied.limits[0].reset_after) == (10, 1.0, 10.0)
    clock.now_us += SECOND
    assert limiter.take(slower, subject).allowed


def test_a_unit_is_not_back_early_after_an_edit_of_the_rate(limiter, clock):
    """A seventh of a minute ends within a microsecond, from which the new rate counts."""
    subject = a_subject()
    clock.now_us = NOON
    seventh = Policy("edited", [TokenBucket(10, 7, "minute", name="rate")])
    limiter.take(seventh, subject, 10)
    clock.now_us += 8_571_429
    assert limiter.take(seventh, subject).allowed
    faster = Policy("edited", [TokenBucket(10, 10, "second", name="rate")])
    clock.now_us += 99_999
    assert limiter.inspect(faster, subject)[0].used == 10
    clock.now_us += 1
    assert limiter.inspect(faster, subject)[0].used == 9


def test_a_clock_that_steps_back_after_a_refund_refills_nothing(limiter, clock):
    policy, subject = Policy("back", [TokenBucket(10, 1, "second")]), a_subject()
    clock.now_us = NOON
    limiter.refund(limiter.take(policy, subject, 10))
    clock.now_us = NOON - 50 * SECOND
    assert limiter.take(policy, subject, 10).allowed
    clock.now_us = NOON
    assert limiter.take(policy, subject).retry_after == 1.0


def test_a_wait_too_long_to_count_exactly_is_reported_as_very_long(limiter, clock):
    subject, slow = a_subject(), Policy("edited", [TokenBucket(1, 1, 366 * 86_400)])
    clock.now_us = NOON
    limiter.take(Policy("edited", [TokenBucket(4 * 10**9, 4 * 10**9, "minute")]), subject, 4 * 10**9)
    denied = limiter.take(slow, subject)
    assert not denied.allowed
    assert denied.retry_after > 100 * 366 * 86_400
    assert limiter.refund(slow, subject, at=denied.at).limits[0].used == 4 * 10**9 - 1
