"""Refunds give back what was taken, where it was taken: no limit is looser than if the units had not been taken."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import Charge, Decision, Policy, Quota, SlidingWindow, TokenBucket
from limiter.protocol.call import Call
from limiter.protocol.refund import refund_of
from support.clock import DAY, HOUR, NOON, SECOND
from support.drivers import a_subject
from support.examples import examples
from support.model import assert_ceiling, given_back, slice_of
from support.traffic import STARTS, alone, assert_decided, mixed, traffic

FIFTY = {
    "window": SlidingWindow(50, 60),
    "bucket": TokenBucket(50, 50, 60),
    "quota": Quota.hourly(50),
}


class Histories:
    """For each limit of a policy, what it has admitted and not given back: [microseconds, cost, number of the decision]."""

    def __init__(self, limits) -> None:
        self.limits, self.admitted = limits, [[] for _ in limits]

    def of(self, place: int):
        return [(at, cost) for at, cost, _ in self.admitted[place] if cost]

    def pairs(self):
        return [(limit, self.of(place)) for place, limit in enumerate(self.limits)]

    def give_back(self, number: int, units: int, now: int) -> None:
        for limit, admitted in zip(self.limits, self.admitted, strict=True):
            for entry in admitted:
                if entry[2] == number:
                    entry[1] -= given_back(limit, entry[0], units, now)


@st.composite
def refunds(draw, steps: int):
    """For each step: which of the last takes to refund, and which part of it in percent; or none."""
    one = st.none() | st.tuples(st.sampled_from((1, 1, 2, 3, 10)), st.sampled_from((100, 100, 90, 50, 1)))
    return draw(st.lists(one, min_size=steps, max_size=steps))


@examples(200)
@given(st.data())
def test_after_any_takes_and_refunds_each_limit_counts_what_was_not_given_back(limiter, clock, data):
    """The model has the exact history. Decisions by the library and by the kept time are the same, except for the argument."""
    limits = data.draw(alone | mixed(least=1))
    policy, subject, histories, left = Policy("refunds", limits), a_subject(), Histories(limits), []
    clock.now_us = data.draw(st.sampled_from(STARTS))
    steps = data.draw(traffic(limits))
    for (gap, cost, times), refund in zip(steps, data.draw(refunds(len(steps))), strict=True):
        clock.now_us += gap
        for decision in limiter.take_many([Charge(policy, subject, cost)] * times):
            assert_decided(decision, histories.pairs(), clock.now_us, cost)
            if decision.allowed:
                for admitted in histories.admitted:
                    admitted.append([clock.now_us, cost, len(left)])
                left.append([decision, cost])
        if refund and len(left) >= refund[0]:
            number = len(left) - refund[0]
            decision, rest = left[number]
            units = -(-rest * refund[1] // 100)
            left[number][1] -= units
            clock.now_us += data.draw(st.sampled_from((0, 1, gap if gap < DAY else 0)))
            whole = times == 1
            after = limiter.refund(decision, cost=units) if whole else limiter.refund(policy, subject, units, at=decision.at)
            histories.give_back(number, units, clock.now_us)
            assert_decided(after, histories.pairs(), clock.now_us, 0)
    for limit, admitted in histories.pairs():
        assert_ceiling(limit, admitted)


@examples(60)
@given(st.data())
def test_on_a_clock_that_steps_back_refunds_loosen_no_limit(limiter, clock, data):
    """In a window, the bound holds in real time, in which a clock never steps back. For the others, the last write is the time."""
    limits = data.draw(alone | mixed(least=1))
    policy, subject, histories, left = Policy("back", limits), a_subject(), Histories(limits), []
    real_us = clock.now_us = data.draw(st.sampled_from(STARTS))
    written_us = 0
    steps = data.draw(traffic(limits, back=True))
    for (gap, cost, _), refund in zip(steps, data.draw(refunds(len(steps))), strict=True):
        clock.now_us += gap
        real_us += max(gap, 0)
        decision = limiter.take(policy, subject, cost)
        if decision.allowed:
            written_us = max(written_us, clock.now_us)
            for limit, admitted in zip(limits, histories.admitted, strict=True):
                admitted.append([real_us if isinstance(limit, SlidingWindow) else written_us, cost, len(left)])
            left.append(decision)
        if refund and len(left) >= refund[0] and left[-refund[0]]:
            number, before = len(left) - refund[0], limiter.inspect(policy, subject)
            after, taken, left[number] = limiter.refund(left[number]), left[number].charges[0].cost, None
            written_us = max(written_us, clock.now_us)
            for limit, admitted, old, new in zip(limits, histories.admitted, before, after.limits, strict=True):
                entry = next(entry for entry in admitted if entry[2] == number)
                given = old.used - new.used
                assert 0 <= given <= taken
                # What a bucket has given back counts as all of it: the rest has refilled.
                entry[1] -= entry[1] if isinstance(limit, TokenBucket) else min(given, entry[1])
    for limit, admitted in histories.pairs():
        assert_ceiling(limit, admitted)


@pytest.mark.parametrize("limit", FIFTY.values(), ids=FIFTY)
def test_what_no_longer_counts_gives_nothing_back(limiter, clock, limit):
    """Fifty, taken a window ago, would make room for fifty more beside those that were taken since."""
    policy, subject = Policy("fifty", [limit]), a_subject()
    clock.now_us = NOON
    first = limiter.take(policy, subject, 50)
    clock.now_us += HOUR if isinstance(limit, Quota) else 61 * SECOND
    assert limiter.take(policy, subject, 50).allowed
    assert limiter.refund(first).limits[0].used == 50
    assert limiter.refund(policy, subject, 50, at=first.at).limits[0].used == 50
    assert not limiter.take(policy, subject).allowed


def test_a_clock_that_stepped_back_by_more_than_a_period_refunds_the_period_of_the_last_charge_alone(limiter, clock):
    """The take of the period before would make room for a second unit in the period of the last charge."""
    policy, subject = Policy("hour", [Quota.hourly(1)]), a_subject()
    clock.now_us = NOON
    before = limiter.take(policy, subject)
    clock.now_us += HOUR
    last = limiter.take(policy, subject)
    clock.now_us -= HOUR + 1
    assert limiter.refund(before).limits[0].used == 1
    assert limiter.refund(last).limits[0].used == 0


def test_a_steady_client_that_refunds_most_of_each_take_is_never_denied(limiter, clock):
    """10,000 in 5 seconds; 15 times a second it takes 1,000 and gives back 900, so 7,500 and the next 1,000 are needed."""
    policy, subject, admitted = Policy("steady", [SlidingWindow(10_000, 5)]), a_subject(), 0
    for number in range(15 * 30):
        clock.now_us = NOON + number * SECOND // 15
        decision = limiter.take(policy, subject, 1000)
        admitted += decision.allowed
        limiter.refund(decision, cost=900)
    assert admitted == 15 * 30


def test_a_client_that_refunds_most_of_each_take_reaches_the_limit(limiter, clock):
    """At 100 takes a second, it is held to the capacity less the 900 that each take needs for a moment: 9,100 in any 5 seconds."""
    policy, subject, admitted = Policy("steady", [SlidingWindow(10_000, 5)]), a_subject(), 0
    for number in range(100 * 30):
        clock.now_us = NOON + number * SECOND // 100
        decision = limiter.take(policy, subject, 1000)
        admitted += decision.allowed
        limiter.refund(decision, cost=900)
    assert 0.97 * 9100 * 6 <= admitted * 100 <= 9100 * 6 * 1.01


def test_a_bucket_keeps_the_units_that_have_refilled_since_the_take(limiter, clock):
    """Four of ten have refilled after four seconds; two fifths of a unit more after 400 ms."""
    policy, subject = Policy("bucket", [TokenBucket(20, 1, "second")]), a_subject()
    clock.now_us = NOON
    limiter.take(policy, subject, 10)
    taken = limiter.take(policy, subject, 10)
    clock.now_us += 4 * SECOND + 400_000
    (state,) = limiter.refund(taken).limits
    assert (state.used, state.reset_us) == (10, 10 * SECOND)


@examples(60)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_several_refunds_of_a_decision_give_back_no_more_than_its_slice_holds(limiter, clock, before, cost, after, times):
    limit = SlidingWindow(100, 60)
    policy, subject, step = Policy("slice", [limit]), a_subject(), slice_of(limit)
    clock.now_us = NOON - NOON % step
    limiter.take(policy, subject, before)
    clock.now_us += step
    decision = limiter.take(policy, subject, cost)
    clock.now_us += step
    limiter.take(policy, subject, after)
    for _ in range(times):
        limiter.refund(decision)
    assert limiter.inspect(policy, subject)[0].used == before + after


def test_a_refund_after_a_reset_takes_nothing_from_later_charges(limiter, clock):
    policy, subject = Policy("reset", [SlidingWindow(100, 60), Quota.daily(100)]), a_subject()
    clock.now_us = NOON
    decision = limiter.take(policy, subject, 5)
    limiter.reset(policy, subject)
    clock.now_us += SECOND
    limiter.take(policy, subject, 5)
    assert limiter.refund(decision).limits[0].used == 5


@examples(30)
@given(st.data())
def test_a_shadow_limit_gives_back_only_what_it_was_charged(limiter, clock, data):
    """It counts like a limit that is enforced alone, whose denials charge nothing and so have nothing to refund."""
    (limit,) = data.draw(mixed(least=1))[:1]
    shadowed, alone = Policy("s", [replace(limit, shadow=True)]), Policy("a", [limit])
    subject, pairs = a_subject(), []
    clock.now_us = NOON
    steps = data.draw(traffic([limit]))
    for (gap, cost, _), refund in zip(steps, data.draw(refunds(len(steps))), strict=True):
        clock.now_us += gap
        pairs.append((limiter.take(shadowed, subject, cost), limiter.take(alone, subject, cost)))
        if refund and len(pairs) >= refund[0]:
            seen, enforced = pairs[-refund[0]]
            limiter.refund(seen)
            limiter.refund(enforced)
        assert [state[2:] for state in limiter.inspect(shadowed, subject)] == [state[2:] for state in limiter.inspect(alone, subject)]


def test_a_refund_by_the_time_alone_gives_nothing_back_to_a_shadow_limit(limiter, clock):
    """The time does not say whether the limit had room."""
    policy, subject = Policy("shadowed", [SlidingWindow(100, 60), SlidingWindow(8, 3600, shadow=True)]), a_subject()
    clock.now_us = NOON
    limiter.take(policy, subject, 5)
    without_room = limiter.take(policy, subject, 5)
    assert [state.used for state in without_room.limits] == [10, 5]
    assert [state.used for state in limiter.refund(policy, subject, 5, at=without_room.at).limits] == [5, 5]


def test_a_batch_of_takes_and_refunds_decides_each_group_in_order(limiter, clock):
    """Two refunds with their own times between takes, each of several charges."""
    minute, day, account = Policy("minute", [SlidingWindow(10, 60)]), Policy("day", [Quota.daily(20), TokenBucket(20, 1, 60)]), a_subject()
    clock.now_us = NOON
    charges = [Charge(minute, "a", 4), Charge(day, "b", 5)]
    first = limiter.take(charges, account=account)
    clock.now_us += SECOND
    second = limiter.take(charges, account=account)
    prefix = limiter.settings.prefix
    take = limiter._group(charges, None, 1, account)  # noqa: SLF001 - a batch of several operations, as the asyncio client sends it
    groups = [take, refund_of(prefix, first, None), take, refund_of(prefix, second, 1), take]
    decisions = limiter.decide_many(groups)
    assert [decision.allowed for decision in decisions] == [False, True, True, True, False]
    assert [[state.used for state in decision.limits] for decision in decisions] == [
        [8, 10, 10],
        [4, 5, 5],
        [8, 10, 10],
        [7, 9, 9],
        [7, 9, 9],
    ]


def test_the_times_of_refunds_are_sent_and_takes_stay_as_short_as_before(limiter, clock):
    policy, subject = Policy("wire", [SlidingWindow(10, 60), Quota.daily(20)]), a_subject()
    clock.now_us = NOON
    decision = limiter.take(policy, subject)
    take, refund = limiter._group(policy, subject, 1, None), refund_of(limiter.settings.prefix, decision, None)  # noqa: SLF001
    sizes = {count: len(Call([take] * count, NOON).command) for count in (10, 11)}
    assert len(Call([refund] * 11, NOON).command) - len(Call([refund] * 10, NOON).command) == sizes[11] - sizes[10] + 16


@examples(100)
@given(st.integers(0, 4_102_444_800_000_000))
def test_the_time_of_a_decision_is_exact_to_the_microsecond_until_2100(decided_us):
    at = Decision(True, (), (), decided_us).at
    assert round(json.loads(json.dumps(at)) * SECOND) == decided_us
