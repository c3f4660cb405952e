"""Decisions: all limits of a group are charged or none, a call decides many groups, and the numbers are true."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import Charge, Policy, Quota, SlidingWindow, TokenBucket
from limiter.protocol.group import state_key
from support.clock import DAY, HOUR, MINUTE, NOON, SECOND
from support.drivers import a_subject
from support.examples import examples
from support.model import assert_ceiling, us
from support.traffic import STARTS, alone, assert_decided_as_promised, mixed, traffic

MINUTE_HOUR_BURST = (SlidingWindow(100, 60), SlidingWindow(1000, 3600), TokenBucket(capacity=50, refill=1200, per="minute"))


@examples(100)
@given(st.data())
def test_every_limit_of_a_policy_keeps_its_ceiling_under_any_traffic(limiter, clock, data):
    limits = data.draw(mixed())
    assert_decided_as_promised(limiter, clock, limits, data.draw(st.sampled_from(STARTS)), data.draw(traffic(limits)))


@examples(40)
@given(st.data())
def test_every_charge_of_a_group_keeps_its_ceilings_under_any_traffic(limiter, clock, data):
    """Two keys of one account: a group charges both the key and the account, or neither."""
    of_key, of_account = data.draw(mixed(least=1)), data.draw(mixed(least=1))
    key, account, subject = Policy("key", of_key), Policy("account", of_account), a_subject()
    admitted = {"a": [], "b": [], subject: []}
    clock.now_us = data.draw(st.sampled_from(STARTS))
    steps = data.draw(traffic(of_key + of_account))
    names = data.draw(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), min_size=len(steps), max_size=len(steps)))
    for (gap, cost, _), (name, shared) in zip(steps, names, strict=True):
        clock.now_us += gap
        charges = [Charge(key, name, cost), Charge(account, subject, cost)][: 1 + shared]
        if limiter.take(charges, account=subject).allowed:
            for charge in charges:
                admitted[charge.subject].append((clock.now_us, cost))
    for limit in of_key:
        assert_ceiling(limit, admitted["a"])
        assert_ceiling(limit, admitted["b"])
    for limit in of_account:
        assert_ceiling(limit, admitted[subject])


@examples(60)
@given(st.data())
def test_a_clock_that_steps_back_loosens_no_limit(limiter, clock, data):
    """The limits hold if each admission is dated by the latest time that any decision has seen."""
    limits = data.draw(mixed(least=1))
    policy, subject, admitted, latest = Policy("back", limits), a_subject(), [], 0
    clock.now_us = data.draw(st.sampled_from(STARTS))
    for gap, cost, times in data.draw(traffic(limits, back=True)):
        clock.now_us += gap
        for decision in limiter.take_many([Charge(policy, subject, cost)] * times):
            if decision.allowed:
                latest = max(latest, clock.now_us)
                admitted.append((latest, cost))
    for limit in limits:
        assert_ceiling(limit, admitted)
    if latest - clock.now_us < HOUR or not any(isinstance(limit, Quota) for limit in limits):
        # A quota cannot know the end of a period that is more than one ahead.
        assert_waiting_is_true(limiter, clock, policy, subject, max(1, limits[0].capacity // 2))


@examples(80)
@given(st.data())
def test_waiting_retry_after_admits_and_waiting_2_ms_less_does_not(limiter, clock, data):
    """In any state: after any traffic, refunds and edits, and for any cost."""
    limits = data.draw(alone | mixed(least=1))
    subject = a_subject()
    drive(limiter, clock, data, limits, subject)
    edited = [replace(limit, capacity=data.draw(st.sampled_from((1, limit.capacity, 2 * limit.capacity)))) for limit in limits]
    policy = Policy("driven", edited)
    for limit in edited:
        assert_waiting_is_true(limiter, clock, policy, subject, data.draw(st.integers(1, limit.capacity)))


@examples(40)
@given(st.data())
def test_a_cost_of_remaining_is_admitted_and_one_more_is_not(limiter, clock, data):
    limits = data.draw(mixed(least=1))
    policy, subject = Policy("driven", limits), a_subject()
    drive(limiter, clock, data, limits, subject)
    remaining = limiter.peek(policy, subject, 0).remaining
    assert remaining == min(state.remaining for state in limiter.inspect(policy, subject))
    assert not limiter.peek(policy, subject, remaining + 1).allowed
    assert limiter.take(policy, subject, remaining).allowed
    assert limiter.peek(policy, subject, 0).remaining == 0


@examples(40)
@given(st.data())
def test_the_whole_capacity_is_free_after_the_reset_and_not_before(limiter, clock, data):
    limits = data.draw(mixed(least=1))
    policy, subject = Policy("driven", limits), a_subject()
    drive(limiter, clock, data, limits, subject)
    now = clock.now_us
    for number, state in enumerate(limiter.inspect(policy, subject)):
        assert (state.used > 0) == (state.reset_us > 0)
        clock.now_us = now + state.reset_us
        assert limiter.inspect(policy, subject)[number].used == 0
        if state.used:
            clock.now_us -= 1
            assert limiter.inspect(policy, subject)[number].used > 0


def drive(limiter, clock, data, limits, subject) -> None:
    """Sends random traffic with refunds under the policy `driven`."""
    policy = Policy("driven", limits)
    clock.now_us = data.draw(st.sampled_from(STARTS))
    for gap, cost, times in data.draw(traffic(limits, least=4)):
        clock.now_us += gap
        limiter.take_many([Charge(policy, subject, cost)] * times)
        if times == 2:
            limiter.refund(policy, subject, -(-cost // 2), at=clock.now_us / SECOND)


def assert_waiting_is_true(limiter, clock, what, subject, cost) -> None:
    now = clock.now_us
    decision = limiter.peek(what, subject, cost)
    if decision.allowed or decision.retry_after is None:
        return
    wait = us(decision.retry_after)
    clock.now_us = now + wait
    assert limiter.peek(what, subject, cost).allowed, decision
    if wait > 2000:
        clock.now_us -= 2000
        assert not limiter.peek(what, subject, cost).allowed, decision
    clock.now_us = now


def test_the_wait_for_several_charges_is_that_of_the_slowest(limiter, clock):
    slow, fast, account = Policy("slow", [SlidingWindow(1, 3600)]), Policy("fast", [TokenBucket(1, 7, "minute")]), a_subject()
    charges = [Charge(slow, "a"), Charge(fast, "a")]
    clock.now_us = NOON
    limiter.take(charges, account=account)
    clock.now_us += MINUTE
    limiter.take(charges[1], account=account)
    denied = limiter.take(charges, account=account)
    assert denied.retry_after == 3540.0
    assert [state.retry_after for state in denied.limits] == [3540.0, pytest.approx(60 / 7, abs=1e-6)]
    assert denied.binding.name == "hour"
    clock.now_us += us(denied.retry_after)
    assert limiter.take(charges, account=account).allowed


GROUP = {
    "key": Policy("standard", MINUTE_HOUR_BURST),
    "account": Policy("contract", [Quota.daily(5000, timezone="Europe/Berlin"), SlidingWindow(2000, "hour")]),
}


def states_of(client, limiter, charges, account):
    """Each state as it is stored, byte by byte, and when it expires."""
    keys = [state_key(limiter.settings.prefix, account, charge) for charge in charges]
    return [(client.dump(key), client.pexpiretime(key)) for key in keys]


@pytest.mark.parametrize("name", ["minute", "hour", "burst", "day", "contract's hour"])
def test_a_denial_by_any_limit_leaves_all_states_unchanged(limiter, client, clock, name):
    """Both as `inspect` reports them and as Redis stores them."""
    account = a_subject()
    limits = [replace(limit, capacity=3) if limit.name == name else limit for limit in GROUP["key"].limits]
    contract = [
        replace(limit, capacity=3) if name in (limit.name, f"contract's {limit.name}") and name != "hour" else limit
        for limit in GROUP["account"].limits
    ]
    charges = [Charge(Policy("standard", limits), "key-1"), Charge(Policy("contract", contract), "acme")]
    clock.now_us = NOON
    for _ in range(3):
        assert limiter.take(charges, account=account).allowed
        clock.now_us += 1
    inspected, stored = limiter.inspect(charges, account=account), states_of(client, limiter, charges, account)
    assert {state.used for state in inspected} == {3}
    denied = limiter.take_many([charges] * 50, account=account)
    assert not any(decision.allowed for decision in denied)
    assert denied[0].binding.capacity == 3
    assert limiter.inspect(charges, account=account) == inspected
    assert states_of(client, limiter, charges, account) == stored


def test_a_denial_reports_the_remaining_units_of_the_limits_that_had_room(limiter, clock):
    policy, subject = Policy("standard", [SlidingWindow(2, 60), SlidingWindow(1000, 3600)]), a_subject()
    clock.now_us = NOON
    limiter.take(policy, subject, 2)
    denied = limiter.take(policy, subject, 1)
    assert [(state.used, state.remaining, state.blocks) for state in denied.limits] == [(2, 0, True), (2, 998, False)]


@examples(25)
@given(st.data())
def test_denials_peeks_and_inspects_write_nothing(limiter, client, clock, data):
    limits = data.draw(mixed(least=1))
    policy, subject = Policy("driven", limits), a_subject()
    drive(limiter, clock, data, limits, subject)
    charges = [Charge(policy, subject), Charge(policy, f"{subject}-unknown")]
    stored = states_of(client, limiter, charges, subject)
    limiter.peek(policy, subject, data.draw(st.integers(0, 1000)))
    limiter.inspect(policy, subject)
    limiter.take(policy, subject, 0)
    if not limiter.peek(policy, subject, 1).allowed:
        limiter.take(policy, subject, 1)
    limiter.take(policy, subject, 2**53 - 1)
    limiter.refund(charges[1], account=subject, at=clock.now_us / SECOND)
    limiter.peek(charges, account=subject)
    assert states_of(client, limiter, charges, subject) == stored


@examples(25)
@given(st.data())
def test_a_batch_decides_its_groups_as_if_sent_one_by_one(limiter, clock, data):
    """A group sees the charges of the groups before it in the call, also if they share a subject."""
    limits = data.draw(mixed(least=1))
    policies = [Policy("one", limits), Policy("other", limits[:1])]
    costs = st.integers(1, max(limit.capacity for limit in limits))
    groups = data.draw(
        st.lists(
            st.lists(st.tuples(st.sampled_from((0, 1)), st.sampled_from("ab"), costs), min_size=1, unique_by=lambda c: c[:2]), min_size=1
        )
    )
    clock.now_us = NOON
    together, apart = a_subject(), a_subject()
    charges = [[Charge(policies[number], name, cost) for number, name, cost in group] for group in groups]
    at_once = limiter.take_many(charges, account=together)
    one_by_one = [limiter.take(group, account=apart) for group in charges]
    assert [(d.allowed, list(d.numbers)) for d in at_once] == [(d.allowed, list(d.numbers)) for d in one_by_one]


def test_a_smaller_group_may_be_admitted_after_a_denied_one_in_the_same_call(limiter, clock):
    policy, subject = Policy("shared", [SlidingWindow(5, 60)]), a_subject()
    clock.now_us = NOON
    decisions = limiter.take_many([Charge(policy, subject, cost) for cost in (4, 2, 1, 1)])
    assert [decision.allowed for decision in decisions] == [True, False, True, False]


def test_a_cost_above_the_capacity_is_denied_without_retry_after(limiter, clock):
    clock.now_us = NOON
    for limit in (SlidingWindow(5, 60), TokenBucket(5, 5), Quota.daily(5)):
        denied = limiter.take(Policy("small", [limit]), a_subject(), 6)
        assert (denied.allowed, denied.retry_after, denied.remaining) == (False, None, 5)
        assert "cost 6 is above the capacity 5" in denied.reason


def test_a_limit_that_never_admits_the_cost_is_binding(limiter, clock):
    policy, subject = Policy("both", [SlidingWindow(5, 60), SlidingWindow(10, 3600)]), a_subject()
    clock.now_us = NOON
    limiter.take(policy, subject, 5)
    denied = limiter.take(policy, subject, 6)
    assert denied.retry_after is None
    assert denied.binding.name == "minute"


@pytest.mark.parametrize(
    "shadow",
    [SlidingWindow(2, 60, "trial", shadow=True), TokenBucket(2, 1, name="trial", shadow=True), Quota.daily(2, name="trial", shadow=True)],
)
def test_a_shadow_limit_reports_a_denial_and_denies_nothing(limiter, clock, shadow):
    policy, subject = Policy("shadowed", [SlidingWindow(100, 3600), shadow]), a_subject()
    clock.now_us = NOON
    decisions = [limiter.take(policy, subject) for _ in range(4)]
    assert all(decision.allowed for decision in decisions)
    assert [decision.limits[1].blocks for decision in decisions] == [False, False, True, True]
    assert [decision.limits[0].used for decision in decisions] == [1, 2, 3, 4]
    assert decisions[3].binding.name == "hour"
    clock.now_us += us(decisions[3].limits[1].retry_after)
    assert not limiter.take(policy, subject).limits[1].blocks


@examples(30)
@given(st.data())
def test_a_shadow_limit_counts_as_if_it_were_enforced_alone(limiter, clock, data):
    (limit,) = data.draw(mixed(least=1))[:1]
    shadowed, alone = Policy("s", [replace(limit, shadow=True)]), Policy("a", [limit])
    subject = a_subject()
    clock.now_us = NOON
    for gap, cost, _ in data.draw(traffic([limit])):
        clock.now_us += gap
        seen, enforced = limiter.take(shadowed, subject, cost), limiter.take(alone, subject, cost)
        assert seen.allowed
        assert list(seen.numbers) == list(enforced.numbers)


def test_a_group_that_another_limit_denies_does_not_charge_its_shadow_limit(limiter, clock):
    policy, subject = Policy("shadowed", [SlidingWindow(1, 60), SlidingWindow(100, 3600, shadow=True)]), a_subject()
    clock.now_us = NOON
    decisions = [limiter.take(policy, subject) for _ in range(3)]
    assert [decision.allowed for decision in decisions] == [True, False, False]
    assert [decision.limits[1].used for decision in decisions] == [1, 1, 1]


def test_a_call_of_the_largest_groups_is_decided(limiter, clock):
    """Three groups of the largest size: the reply has more numbers than Lua's stack holds."""
    policy = Policy("wide", [SlidingWindow(10 + number, 60, f"limit-{number}") for number in range(16)])
    subjects = [a_subject() for _ in range(64)]
    clock.now_us = NOON
    decisions = limiter.take_many([[Charge(policy, subject) for subject in subjects]] * 3, account="wide")
    assert [{state.used for state in decision.limits} for decision in decisions] == [{1}, {2}, {3}]
    assert [len(decision.limits) for decision in decisions] == [1024] * 3


def test_injected_time_may_start_at_0(limiter, clock):
    """Tests of users may use a clock that starts at 0."""
    policy, subject = Policy("zero", [SlidingWindow(1, 60), TokenBucket(1, 1, 60), Quota.monthly(5)]), a_subject()
    clock.now_us = 0
    assert limiter.take(policy, subject).allowed
    assert limiter.take(policy, subject).retry_after == 60.0
    clock.now_us = MINUTE
    assert limiter.take(policy, subject).allowed


@pytest.mark.parametrize("step", [SECOND, 30 * SECOND, MINUTE, HOUR, DAY])
@pytest.mark.parametrize("limit", [SlidingWindow(2, 60), TokenBucket(2, 2, 60), Quota.daily(2), Quota.monthly(2)])
def test_waits_and_resets_stay_true_after_a_clock_steps_back(limiter, clock, limit, step):
    policy, subject = Policy("back", [limit]), a_subject()
    clock.now_us = NOON
    limiter.take(policy, subject)
    clock.now_us -= step
    taken = limiter.take(policy, subject)
    assert taken.allowed
    assert taken.limits[0].used == 2
    assert taken.limits[0].reset_us == limiter.inspect(policy, subject)[0].reset_us
    assert_waiting_is_true(limiter, clock, policy, subject, 1)
    clock.now_us += taken.limits[0].reset_us
    assert limiter.inspect(policy, subject)[0].used == 0
