"""The shapes of the traffic, in relation to the limits. A limiter in plain Python says what they would meet."""

from itertools import takewhile

import pytest
from users.shapes import SHAPES, Traffic, edge_seconds, volleys

from limiter import parse_limit
from support.model import exactly_used, us

START = 1_700_000_007.5
LIMITS = {
    text: [parse_limit(each) for each in text.split("; ")]
    for text in ("100/minute; 1000/hour", "1200/minute; burst 50, 1200/minute", "60/minute; quota 1000/day", "10/5s")
}
every_limit = pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)


def times(shape, limits, run_time=300.0, sharers=1, place=0) -> list[float]:
    """When one user of each of the sharers sends, during the test."""
    traffic = Traffic(limits, START, run_time, sharers, place)
    sent = []
    for _ in range(sharers):
        inside = takewhile(lambda volley: volley[0] < START + run_time, volleys(shape, traffic))
        sent += [at for at, count in inside for _ in range(count)]
    return sorted(sent)


def is_within(limits, sent) -> bool:
    """Whether all requests would be admitted: no limit ever has more in use than its capacity."""
    return all(
        exactly_used(limit, [(us(each), 1) for each in sent if each <= at], us(at)) <= limit.capacity
        for limit in limits
        for at in sent[:: max(1, len(sent) // 50)] + sent[-1:]
    )


@every_limit
@pytest.mark.parametrize("sharers", [1, 3])
def test_steady_traffic_stays_within_the_limits(limits, sharers):
    sent = times("steady", limits, sharers=sharers)
    assert is_within(limits, sent)
    assert len(sent) >= 0.5 * 300 * sharers * Traffic(limits, START, 300, sharers).rate


@every_limit
@pytest.mark.parametrize("shape", ["burst", "ramp"])
def test_bursts_and_ramps_exceed_the_limits(shape, limits):
    assert not is_within(limits, times(shape, limits))


def test_every_second_key_of_mixed_traffic_stays_within_the_limits():
    limits = LIMITS["100/minute; 1000/hour"]
    assert is_within(limits, times("mixed", limits, place=1))
    assert not is_within(limits, times("mixed", limits, place=0))


def test_a_ramp_begins_below_the_limits_and_ends_at_twice_their_rate():
    sent = times("ramp", [parse_limit("600/minute")], run_time=120)
    first, last = (sum(start <= at - START < start + 12 for at in sent) for start in (0, 108))
    assert first <= 13
    assert 220 <= last <= 240


@pytest.mark.parametrize("sharers", [1, 4])
def test_an_edge_is_met_by_a_window_of_the_clock_and_by_one_that_begins_with_the_first_request(sharers):
    limit = parse_limit("20/5s")
    sent = times("edge", [limit], run_time=edge_seconds([limit]), sharers=sharers)
    opener, others = sent[0], sent[sharers:]
    edge = opener // 5 * 5 + 5
    assert opener % 5 < 0.5
    assert sum(edge - 1 < at < edge for at in others) == 20
    assert sum(opener + 5 < at < edge + 1 for at in others) == 40


def test_a_soak_is_steady_with_a_burst_every_5_minutes():
    limits = [parse_limit("60/minute")]
    sent = times("soak", limits, run_time=3000)
    assert 9 * 79 <= len(sent) - 0.9 * 3000 <= 11 * 79


@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_volley_comes_soon(shape):
    at, count = next(volleys(shape, Traffic([parse_limit("100/5s")], START, 60)))
    assert START <= at <= START + 5.1
    assert count >= 1
