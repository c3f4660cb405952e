"""Random traffic: bursts, pauses, mixed costs, and mostly the edges of windows, slices, intervals and periods."""

from dataclasses import replace

from hypothesis import strategies as st

from limiter import Charge, Policy, Quota, SlidingWindow, TokenBucket
from support.clock import DAY, HOUR, MINUTE, NOON, SECOND
from support.drivers import a_subject
from support.model import assert_ceiling, exactly_used, slice_of, us

# Spans that are divisible by 128 and by capacities, and spans that are not; the shortest and the longest.
SPANS = (1000, 1001, 128_000, SECOND, 999_999, MINUTE, MINUTE + 7, HOUR, 2**40 - 1)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Pago_Pago")
# An ordinary day; midnight before both clock changes in Berlin, then in New York; the last moment of a year; a leap day.
STARTS = (
    NOON,
    1_806_188_400_000_000,
    1_824_933_600_000_000,
    1_805_000_400_000_000,
    1_825_560_000_000_000,
    1_798_761_599_999_999,
    1_835_395_200_000_000,
)

_capacities = st.integers(1, 12) | st.sampled_from((100, 1000))

sliding_windows = st.builds(lambda capacity, span: SlidingWindow(capacity, span / SECOND), _capacities, st.sampled_from(SPANS))
token_buckets = st.builds(
    lambda capacity, refill, span: TokenBucket(capacity, refill, span / SECOND),
    st.integers(1, 12) | st.just(100),
    st.sampled_from((1, 3, 7, 11, 1000, 1201)),
    st.sampled_from(SPANS),
)


@st.composite
def quotas(draw):
    period = draw(st.sampled_from(("hour", "day", "week", "month")))
    anchor = draw(st.integers(1, {"week": 7, "month": 31}.get(period, 1)))
    return Quota(draw(_capacities), period, draw(st.sampled_from(ZONES)), anchor)


@st.composite
def mixed(draw, least=2):
    """Limits of all kinds, with names that fit into one policy."""
    limits = draw(st.lists(sliding_windows | token_buckets | quotas(), min_size=least, max_size=4))
    return [replace(limit, name=f"limit-{number}") for number, limit in enumerate(limits)]


# One limit alone, whose edges the traffic then meets more often.
alone = st.builds(lambda limit: [limit], sliding_windows | token_buckets | quotas())


def _edges(limit) -> set[int]:
    match limit:
        case SlidingWindow():
            spans = {us(limit.window), slice_of(limit), -(-us(limit.window) // limit.capacity), us(limit.window) - slice_of(limit)}
        case TokenBucket():
            spans = {us(limit.per) // limit.refill, -(-limit.capacity * us(limit.per) // limit.refill)}
        case Quota():
            spans = {MINUTE, HOUR, DAY, 7 * DAY, 28 * DAY, 31 * DAY}
    return {max(0, span + by) for span in spans for by in (-1, 0, 1)} | {0, 1}


@st.composite
def traffic(draw, limits, least=8, back=False):
    """Steps: (microseconds since the previous step, cost, number of requests)."""
    edges = sorted(set.union(*map(_edges, limits)))
    gaps = st.sampled_from(edges) | st.integers(0, 2 * edges[-1])
    if back:
        gaps |= st.sampled_from(edges).map(lambda gap: -gap)
    most = max(limit.capacity for limit in limits)
    costs = st.sampled_from(sorted({cost for limit in limits for cost in (1, 2, -(-limit.capacity // 2), limit.capacity)} | {most + 1}))
    return draw(st.lists(st.tuples(gaps, costs, st.sampled_from((1, 1, 1, 2, 5))), min_size=least, max_size=30))


def assert_decided_as_promised(limiter, clock, limits, start, steps) -> None:
    """Sends the traffic, and compares each decision with the model and the admissions with the bound."""
    policy, subject, admitted = Policy("traffic", limits), a_subject(), []
    clock.now_us = start
    for gap, cost, times in steps:
        clock.now_us += gap
        for decision in limiter.take_many([Charge(policy, subject, cost)] * times):
            _assert_one(decision, limits, admitted, clock.now_us, cost)
            if decision.allowed:
                admitted.append((clock.now_us, cost))
    for limit in limits:
        assert_ceiling(limit, admitted)


def _assert_one(decision, limits, admitted, now, cost) -> None:
    assert_decided(decision, [(limit, admitted) for limit in limits], now, cost)


def assert_decided(decision, histories, now, cost) -> None:
    """Compares a decision on `cost` with the model: pairs of a limit and what it has admitted before."""
    limits = [limit for limit, _ in histories]
    least = [exactly_used(limit, admitted, now) for limit, admitted in histories]
    most = [exactly_used(limit, admitted, now, slice_of(limit)) for limit, admitted in histories]
    if decision.allowed:
        assert all(used + cost <= limit.capacity for limit, used in zip(limits, least, strict=True))
    else:
        assert any(used + cost > limit.capacity for limit, used in zip(limits, most, strict=True)), "denied without a reason"
    charged = cost if decision.allowed else 0
    for state, low, high in zip(decision.limits, least, most, strict=True):
        assert low <= state.used - charged <= high, (state, low, high)
