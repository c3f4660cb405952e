"""Limits that a policy lacks are kept until they are over, whatever versions of the policy are in use side by side."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import Charge, Limiter, Policy, Quota, SlidingWindow, TokenBucket
from limiter.protocol.group import state_key
from support.clock import DAY, HOUR, MINUTE, NOON, SECOND
from support.drivers import a_subject
from support.examples import examples
from support.model import assert_ceiling
from support.traffic import STARTS, assert_decided, mixed, traffic

MONTH = Quota.monthly(100)
OLD, NEW = Policy("rollout", [SlidingWindow(10, 60), MONTH]), Policy("rollout", [SlidingWindow(10, 60)])


@pytest.fixture
def stored(client, limiter):
    """What Redis stores for a subject, and for how long, without the day that is added if time is injected."""

    def stored(policy, subject):
        key = state_key(limiter.settings.prefix, subject, Charge(policy, subject))
        return client.get(key), client.pttl(key) * 1000 - DAY

    return stored


@examples(30)
@given(st.data())
def test_no_version_of_a_policy_erases_what_another_has_counted(limiter, clock, data):
    """Each take uses one of several versions, with any limits in any order. The model has the exact history of each limit."""
    limits = data.draw(mixed(least=2))
    versions = [data.draw(st.permutations(limits))[: data.draw(st.integers(1, len(limits)))] for _ in range(3)]
    subject, histories, taken = a_subject(), {limit.name: (limit, []) for limit in limits}, []
    clock.now_us = data.draw(st.sampled_from(STARTS))
    for gap, cost, times in data.draw(traffic(limits)):
        clock.now_us += gap
        version = data.draw(st.sampled_from(versions))
        policy, named = Policy("versions", version), [histories[limit.name] for limit in version]
        for decision in limiter.take_many([Charge(policy, subject, cost)] * times):
            assert_decided(decision, named, clock.now_us, cost)
            if decision.allowed:
                taken.append(decision)
                for _, admitted in named:
                    admitted.append((clock.now_us, cost))
        if times == 2 and taken and taken[-1].decided_us == clock.now_us:
            decision = taken.pop()
            limiter.refund(decision)
            for state in decision.limits:
                histories[state.name][1].remove((clock.now_us, decision.charges[0].cost))
    for limit, admitted in histories.values():
        assert_ceiling(limit, admitted)


def test_a_take_without_a_limit_keeps_its_count(limiter, clock):
    subject = a_subject()
    clock.now_us = NOON
    limiter.take(OLD, subject, 7)
    for number in range(5):
        clock.now_us += DAY
        limiter.take(NEW, subject)
        assert limiter.take(OLD, subject).limits[1].used == 8 + number


def test_a_state_with_kept_limits_lives_until_the_last_of_them_is_over(limiter, clock, stored):
    """Also after takes and refunds under the shorter policy. The minute is for a slow machine, as keys expire in real time."""
    subject = a_subject()
    clock.now_us = NOON
    limiter.take(OLD, subject)
    until = limiter.inspect(OLD, subject)[1].reset_us
    for _ in range(3):
        decision = limiter.take(NEW, subject)
        assert until - MINUTE < stored(NEW, subject)[1] <= until + 2000
        limiter.refund(decision)
        assert until - MINUTE < stored(NEW, subject)[1] <= until + 2000


def test_a_kept_limit_is_removed_as_soon_as_it_is_over(limiter, clock, stored):
    """The hour is over long before the month, and then the month: the state has the bytes of a state that never had them."""
    subject, fresh = a_subject(), a_subject()
    clock.now_us = NOON
    three = Policy("rollout", [*OLD.limits, SlidingWindow(10, 3600)])
    limiter.take(three, subject)
    limiter.take(NEW, subject)
    with_both = len(stored(NEW, subject)[0])
    clock.now_us += HOUR + 1
    limiter.take(NEW, subject)
    with_month = len(stored(NEW, subject)[0])
    assert with_month < with_both
    clock.now_us += 31 * DAY
    limiter.take_many([Charge(NEW, subject), Charge(NEW, fresh)])
    assert stored(NEW, subject)[0][:4] == stored(NEW, fresh)[0][:4]
    assert len(stored(NEW, subject)[0]) == len(stored(NEW, fresh)[0]) < with_month


def test_no_more_limits_are_kept_than_a_policy_can_have(limiter, clock, stored):
    """Forty versions, each with another window of an hour: those that are over last stay."""
    subject = a_subject()
    clock.now_us = NOON
    sizes = []
    for number in range(40):
        clock.now_us += SECOND
        limiter.take(Policy("edited", [SlidingWindow(10, 3600, f"limit-{number}")]), subject, 3)
        sizes.append(len(stored(Policy("edited", ["1/s"]), subject)[0]))
    assert len(set(sizes[17:])) == 1
    assert sizes[-1] < 1000
    kept = [limiter.inspect(Policy("edited", [SlidingWindow(10, 3600, f"limit-{number}")]), subject)[0].used for number in range(40)]
    assert kept == [0] * 23 + [3] * 17


@pytest.mark.parametrize("lives", [True, False], ids=["this version", "an earlier version"])
def test_states_of_earlier_versions_are_read(limiter, client, clock, lives):
    """They have no times in their ending; a limit that the policy lacks is then kept as long as the key lives."""
    subject = a_subject()
    key = state_key(limiter.settings.prefix, subject, Charge(OLD, subject))
    clock.now_us = NOON
    limiter.take(OLD, subject, 7)
    if not lives:
        state, expires = client.get(key), client.pexpiretime(key)
        count = state[-1] % 32
        client.set(key, struct.pack("<I", 12345) + state[4 : -12 * count - 1] + state[-4 * count - 1 :], pxat=expires)
    assert [state.used for state in limiter.inspect(OLD, subject)] == [7, 7]
    limiter.take(NEW, subject, 2)
    assert [state.used for state in limiter.take(OLD, subject).limits] == [10, 8]


def test_in_real_time_a_kept_limit_extends_the_expiry_and_then_goes(server, client, prefix):
    """The day of the old policy outlives the minute of the new one; a window of 0.3 s is gone after it."""
    with Limiter(server.url, prefix=prefix, deadline=10) as limiter:
        limiter.take(Policy("grown", ["10/minute", "10/day"]), "key")
        limiter.take(Policy("grown", ["10/minute"]), "key")
        (key,) = client.scan_iter(f"{prefix}:*", count=10_000)
        assert 86_399_000 - 60_000 < client.pttl(key) <= 86_400_000 * 129 / 128 + 1
        client.delete(key)
        limiter.take(Policy("short", [SlidingWindow(10, 0.3), SlidingWindow(10, 0.001, "instant")]), "key")
        limiter.take(Policy("short", [SlidingWindow(10, 0.001, "instant")]), "key")
        (key,) = client.scan_iter(f"{prefix}:*", count=10_000) or (None,)
        assert client.pttl(key) <= 305


def test_kept_limits_follow_each_change_of_a_capacity(limiter, clock):
    """The old version is rolled back to with another capacity: what it had counted still counts."""
    subject = a_subject()
    clock.now_us = NOON
    limiter.take(OLD, subject, 10)
    limiter.take(NEW, subject, 0)
    clock.now_us += MINUTE + SECOND
    limiter.take(NEW, subject)
    lowered = Policy("rollout", [replace(MONTH, capacity=11), TokenBucket(5, 1)])
    assert limiter.take(lowered, subject).allowed
    assert not limiter.take(lowered, subject).allowed
