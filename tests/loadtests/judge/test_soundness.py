"""A limiter that is right is never blamed, whenever its requests were decided; one that is wrong is."""

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge.ledger import Ledger, Ledgers
from judge.requests import DRIFT, Request

from limiter import TokenBucket, parse_limit
from support.examples import examples
from support.model import assert_ceiling, exactly_used, slice_of, us

LIMITS = ["3/5s", "5/20s", "burst 3, 30/minute", "burst 2, 7/minute", "quota 6/hour"]
# Eighths of a second are exact. The times are around the end of an hour.
START, EIGHTH = 1_699_999_195, us(1 / 8)

limits = st.lists(st.sampled_from(LIMITS), min_size=1, max_size=2, unique=True).map(lambda texts: [parse_limit(text) for text in texts])
# When a request is sent, how long until it is decided, and how long until its response arrives: in eighths of a second.
slow = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 20), st.integers(0, 20)), max_size=40)
instant = st.lists(st.integers(0, 200), max_size=40).map(lambda times: [(at, 0, 0) for at in sorted(times)])


def decided(times, enforced, *, late=False) -> list[Request]:
    """What a client of a limiter in plain Python sees. It may free the units of a window late, as `lua/sliding_window.lua` does."""
    admitted: list[tuple[int, int]] = []
    requests = []
    for sent, until_decided, until_received in sorted(times, key=lambda each: each[0] + each[1]):
        now = us(START) + EIGHTH * (sent + until_decided)

        def room(at):
            return min(limit.capacity - exactly_used(limit, admitted, at, slice_of(limit) if late else 0) for limit in enforced)

        request = Request(START + sent / 8, START + (sent + until_decided + until_received) / 8)
        if room(now) > 0:
            admitted.append((now, 1))
            request.status = 200
        else:
            request.status = 429
            request.retry_after = 1 + bisect_left(range(1, 4000), 1, key=lambda wait: room(now + us(wait)))
        request.remaining = tuple(float(limit.capacity - exactly_used(limit, admitted, now)) for limit in enforced)
        requests.append(request)
    return requests


def ledgers(requests, judged) -> Ledgers:
    return Ledgers(Ledger("key 1", judged, requests))


@examples(300)
@given(slow, limits, st.booleans())
def test_a_limiter_that_is_right_is_never_blamed(times, enforced, late):
    found = ledgers(decided(times, enforced, late=late), enforced)

    assert not list(found.key.breaches())
    assert not found.denials_not_owed()
    assert not list(found.false_remaining())
    assert not list(found.false_retry_after())


@examples(100)
@given(instant, st.sampled_from(LIMITS), st.integers(1, 2))
def test_requests_that_take_no_time_show_every_breach(times, text, too_many):
    limit = parse_limit(text)
    requests = decided(times, [raised(text, too_many)])
    try:
        assert_ceiling(limit, [(us(each.sent), 1) for each in requests if each.admitted])
    except AssertionError:
        assert list(ledgers(requests, [limit]).key.breaches())
    else:
        assert not list(ledgers(requests, [limit]).key.breaches())


@examples(100)
@given(instant, st.sampled_from(LIMITS))
def test_requests_that_take_no_time_show_every_denial_that_was_not_owed(times, text):
    limit = parse_limit(text)
    requests = decided(times, [raised(text, -1)])
    admitted = [(us(each.sent), 1) for each in requests if each.admitted]
    for each in ledgers(requests, [limit]).key.requests:
        before = [(at, 1) for at, _ in admitted if at <= us(each.sent)]
        # The clocks may drift, so a unit that has just refilled may be missing.
        drift = round(DRIFT * (us(each.sent) - us(START))) if isinstance(limit, TokenBucket) else 0
        has_room = exactly_used(limit, before, us(each.sent) - drift, slice_of(limit) + 2) < limit.capacity
        if each.denied and has_room:
            assert each in ledgers(requests, [limit]).denials_not_owed()


def raised(text: str, by: int):
    limit = parse_limit(text)
    return parse_limit(text.replace(str(limit.capacity), str(limit.capacity + by), 1))


@pytest.mark.parametrize("text", LIMITS)
def test_a_burst_shows_a_limit_that_is_raised_by_one(text):
    at_once = [(0, 1, 1)] * 20
    found = ledgers(decided(at_once, [raised(text, 1)]), [parse_limit(text)])
    assert [math.floor(breach.end - breach.start) for breach in found.key.breaches()] != []
