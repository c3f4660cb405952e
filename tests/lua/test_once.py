"""A group with an idempotency key charges once, however often it is sent, and the repetition gets the same decision."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import Charge, IdempotencyConflict, Policy, Quota, SlidingWindow, TokenBucket
from limiter.protocol.group import grouped
from limiter.protocol.idempotency import once
from support.clock import HOUR, MINUTE, NOON, SECOND
from support.drivers import a_subject
from support.examples import examples
from support.model import assert_ceiling, given_back
from support.traffic import STARTS, alone, assert_decided, mixed, traffic

FIVE = Policy("five", [SlidingWindow(5, 60)])


@pytest.fixture(autouse=True)
def noon(clock):
    clock.now_us = NOON


class Model:
    """What each key charged first, and what each limit has admitted since and not given back."""

    def __init__(self, limits) -> None:
        self.limits, self.taken, self.returned, self._admitted = limits, {}, {}, {}

    def histories(self):
        return [(limit, [(each[0], each[1][n]) for each in self._admitted.values() if each[1][n]]) for n, limit in enumerate(self.limits)]

    def check_take(self, key, decision, cost, now) -> None:
        if key in self.taken:
            assert decision == self.taken[key]
            return
        assert_decided(decision, self.histories(), now, cost)
        if decision.allowed:
            self.taken[key] = decision
            self._admitted[key] = (now, [cost] * len(self.limits))

    def check_refund(self, key, refund, now) -> None:
        if key in self.returned:
            assert refund == self.returned[key]
            return
        self.returned[key] = refund
        at, costs = self._admitted[key]
        for n, limit in enumerate(self.limits):
            costs[n] -= given_back(limit, at, self.taken[key].charges[0].cost, now)
        assert_decided(refund, self.histories(), now, 0)


@examples(200)
@given(st.data())
def test_any_interleaving_of_takes_refunds_and_repetitions_charges_and_gives_back_once(limiter, clock, data):
    """A repetition, however late, returns the first decision and changes nothing."""
    limits = data.draw(alone | mixed(least=1))
    policy, subject, model = Policy("once", limits), a_subject(), Model(limits)
    clock.now_us = data.draw(st.sampled_from(STARTS))
    for key, (gap, cost, times) in enumerate(data.draw(traffic(limits))):
        clock.now_us += gap
        for _ in range(times):
            model.check_take(key, limiter.take(policy, subject, cost, idempotency_key=f"key-{key}"), cost, clock.now_us)
        if model.taken:
            chosen = data.draw(st.sampled_from(sorted(model.taken)))
            first = model.taken[chosen]
            if data.draw(st.booleans()):
                again = limiter.take(policy, subject, first.charges[0].cost, idempotency_key=f"key-{chosen}")
                model.check_take(chosen, again, first.charges[0].cost, clock.now_us)
            else:
                model.check_refund(chosen, limiter.refund(first, idempotency_key=f"key-{chosen}"), clock.now_us)
    for limit, admitted in model.histories():
        assert_ceiling(limit, admitted)


def test_a_repetition_returns_the_first_decision_with_its_numbers_and_its_time(limiter, clock):
    policy, subject = Policy("all", ["5/minute", "shadow 1/hour", "burst 3, 1/minute", "quota 9/day"]), a_subject()
    limiter.take(policy, subject)
    first = limiter.take(policy, subject, 2, idempotency_key="a")
    assert (first.charged, first.limits[1].blocks) == (True, True)
    clock.now_us += 30 * SECOND
    assert limiter.take(policy, subject, idempotency_key="b").allowed is False
    assert limiter.take(policy, subject, 2, idempotency_key="a") == first
    assert [limit.used for limit in limiter.refund(first).limits] == [1, 1, 1, 1]


def test_a_repetition_may_come_in_the_same_call(limiter):
    subject = a_subject()
    group = once(grouped(limiter.settings.prefix, FIVE, subject, 2, None), "same")
    plain = grouped(limiter.settings.prefix, FIVE, subject, 1, None)
    used = [decision.limits[0].used for decision in limiter.decide_many([group, plain, group, group, plain])]
    assert used == [2, 3, 2, 2, 4]


def test_a_denial_is_not_remembered(limiter, clock):
    subject = a_subject()
    limiter.take(FIVE, subject, 5)
    assert not limiter.take(FIVE, subject, idempotency_key="a").allowed
    clock.now_us += 61 * SECOND
    assert limiter.take(FIVE, subject, idempotency_key="a").remaining == 4
    assert limiter.take(FIVE, subject, idempotency_key="a").remaining == 4
    assert limiter.peek(FIVE, subject).remaining == 4


@pytest.mark.parametrize("change", ["cost", "policy", "subject", "limits", "charges"])
def test_a_key_that_was_used_for_other_charges_charges_nothing(limiter, change):
    subject, account = a_subject(), a_subject()
    limiter.take([Charge(FIVE, subject)], account=account, idempotency_key="a")
    others = {
        "cost": [Charge(FIVE, subject, 2)],
        "policy": [Charge(Policy("six", ["6/minute"]), subject)],
        "subject": [Charge(FIVE, a_subject())],
        "limits": [Charge(Policy("five", ["5/minute", "9/hour"]), subject)],
        "charges": [Charge(FIVE, subject), Charge(FIVE, a_subject())],
    }
    with pytest.raises(IdempotencyConflict, match="must be new for other charges"):
        limiter.take(others[change], account=account, idempotency_key="a")
    assert limiter.peek(FIVE, subject, account=account).remaining == 4


def test_another_capacity_is_no_other_request(limiter):
    """An edit of the configuration between a take and its repetition."""
    subject = a_subject()
    first = limiter.take(FIVE, subject, idempotency_key="a")
    again = limiter.take(Policy("five", ["50/minute"]), subject, idempotency_key="a")
    assert (again.allowed, again.numbers, again.at) == (True, first.numbers, first.at)


def test_a_key_belongs_to_its_account_and_to_its_operation(limiter):
    one, other = a_subject(), a_subject()
    taken = limiter.take(FIVE, one, 3, idempotency_key="a")
    assert limiter.take(FIVE, other, 2, idempotency_key="a").remaining == 3
    assert limiter.refund(taken, idempotency_key="a").remaining == 5
    assert limiter.refund(taken, idempotency_key="a").remaining == 5
    assert limiter.take(FIVE, one, 1).remaining == 4


def test_a_refund_that_is_repeated_gives_back_once(limiter):
    subject = a_subject()
    first, _ = limiter.take(FIVE, subject, 2), limiter.take(FIVE, subject, 2)
    for _ in range(3):
        assert limiter.refund(FIVE, subject, 2, at=first.at, idempotency_key="a").remaining == 3
    assert limiter.peek(FIVE, subject).remaining == 3


def test_a_quota_outside_its_bounds_is_charged_once(limiter, clock):
    """The caller knows another period than Redis, so the group is sent again with new bounds."""
    policy, subject = Policy("hourly", [Quota.hourly(5)]), a_subject()
    for _ in range(2):
        assert limiter.take(policy, subject, idempotency_key="a").remaining == 4
        clock.now_us += 5 * MINUTE
    clock.now_us += HOUR
    assert limiter.take(policy, subject, idempotency_key="a").remaining == 4
    assert limiter.peek(policy, subject).remaining == 5


def test_the_largest_group_is_repeated_too(limiter):
    limits = [SlidingWindow(9, 60, name=f"limit-{number}") for number in range(16)]
    charges = [Charge(Policy(f"policy-{number}", limits), "all") for number in range(64)]
    account = a_subject()
    first = limiter.take(charges, account=account, idempotency_key="a")
    assert len(first.limits) == 1024
    assert limiter.take(charges, account=account, idempotency_key="a") == first


def test_what_is_remembered_is_small_expires_and_does_not_contain_the_key(limiter, client):
    subject = a_subject()
    policy = Policy("three", ["5/minute", "9/hour", TokenBucket(5, 1, "minute")])
    limiter.take(policy, subject, idempotency_key="secret-4711")
    (name,) = client.keys(f"{limiter.settings.prefix}:{{{subject}}}:once-*")
    assert b"4711" not in name
    assert client.strlen(name) == 8 * (2 + 3 * 3)
    # With injected time, keys live a day longer.
    assert client.pttl(name) > 0


@pytest.mark.parametrize("value", [b"", b"7 bytes", b"x" * 24, b"x" * 8])
def test_a_value_of_another_program_at_the_key_charges_nothing(limiter, client, value):
    subject = a_subject()
    limiter.take(FIVE, subject, idempotency_key="a")
    (name,) = client.keys(f"{limiter.settings.prefix}:{{{subject}}}:once-*")
    client.set(name, value)
    with pytest.raises(Exception, match=r"must be (new|a count)"):
        limiter.take(FIVE, subject, idempotency_key="a")
    client.delete(name)
    client.rpush(name, "x")
    with pytest.raises(Exception, match="must be a count"):
        limiter.take(FIVE, subject, idempotency_key="a")
    client.delete(name)
    assert limiter.peek(FIVE, subject).remaining == 4
