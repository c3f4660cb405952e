"""The verbs: one contract suite for both clients."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import (
    Charge,
    Decision,
    InvalidPolicy,
    Limiter,
    LimiterError,
    LimitExceeded,
    Policy,
    Quota,
    SlidingWindow,
    Subject,
    TokenBucket,
)
from limiter.protocol.group import state_key
from support.clock import MINUTE, NOON, SECOND
from support.drivers import a_subject, limiter_of
from support.examples import examples
from support.traffic import STARTS, assert_decided_as_promised, mixed, traffic

STANDARD = Policy("standard", [SlidingWindow(100, 60), SlidingWindow(1000, 3600), TokenBucket(capacity=50, refill=1200, per="minute")])
FIVE = Policy("five", [SlidingWindow(5, 60)])
DAILY = Policy("daily", [Quota.daily(10)])
KEY = Subject("key-1", account="acme")
TAKEN = Decision(True, (Charge(FIVE, "key"),), [1, 0, 60 * SECOND], NOON, charged=True)


@pytest.fixture(autouse=True)
def noon(clock):
    clock.now_us = NOON


@pytest.fixture
def subject():
    return a_subject()


@examples(30)
@given(st.data())
def test_ceilings_hold_under_any_traffic_through_either_client(limiter, clock, data):
    limits = data.draw(mixed(least=1))
    assert_decided_as_promised(limiter, clock, limits, data.draw(st.sampled_from(STARTS)), data.draw(traffic(limits)))


def test_a_take_charges_one_to_every_limit(limiter, subject):
    decision = limiter.take(STANDARD, subject)
    assert decision.allowed
    assert decision
    assert [state.used for state in decision.limits] == [1, 1, 1]
    assert (decision.remaining, decision.retry_after, decision.reason, decision.degraded) == (49, 0.0, "", "")


def test_a_take_charges_its_cost(limiter, subject):
    assert limiter.take(STANDARD, subject, cost=3).limits[0].remaining == 97
    assert limiter.take(STANDARD, subject, 7).limits[0].remaining == 90


def test_a_denied_request_charges_nothing(limiter, subject):
    limiter.take(FIVE, subject, 3)
    denied = limiter.take(FIVE, subject, 3)
    assert not denied.allowed
    assert not denied
    assert (denied.remaining, denied.retry_after, denied.reset_after) == (2, 60.0, 60.0)
    assert limiter.take(FIVE, subject, 2).allowed


def test_a_client_that_keeps_retrying_recovers_as_soon_as_one_that_waits(limiter, clock, subject):
    limiter.take(FIVE, subject, 5)
    for _ in range(60):
        clock.now_us += SECOND - 1
        assert not limiter.take(FIVE, subject).allowed
    clock.now_us += 60
    assert limiter.take(FIVE, subject, 5).allowed


def test_a_denial_names_the_limit_the_subject_and_the_wait(limiter, subject):
    limiter.take(FIVE, subject, 4)
    denied = limiter.take(FIVE, subject, 2)
    assert denied.reason == f"limit 'minute' of policy 'five' has 1 of 5 left for '{subject}': retry in 60.000 s"


def test_a_peek_answers_like_a_take_and_charges_nothing(limiter, subject):
    limiter.take(FIVE, subject, 3)
    assert limiter.peek(FIVE, subject, 2).allowed
    assert limiter.peek(FIVE, subject, 2).remaining == 2
    denied = limiter.peek(FIVE, subject, 3)
    assert (denied.allowed, denied.retry_after) == (False, 60.0)
    assert limiter.take(FIVE, subject, 2).allowed


def test_a_cost_of_0_is_always_allowed(limiter, subject):
    limiter.take(FIVE, subject, 5)
    decision = limiter.take(FIVE, subject, 0)
    assert (decision.allowed, decision.remaining) == (True, 0)


def test_inspecting_an_unknown_subject_finds_nothing_used_and_writes_nothing(limiter, server, subject):
    assert [(state.used, state.reset_after) for state in limiter.inspect(STANDARD, subject)] == [(0, 0.0)] * 3
    with server.client() as client:
        assert not list(client.scan_iter(f"*{subject}*"))


def test_an_inspection_and_a_peek_of_a_full_limit_agree(limiter, subject):
    limiter.take(FIVE, subject, 5)
    (state,) = limiter.inspect(FIVE, subject)
    assert (state.used, state.remaining, state.blocks, state.retry_after, state.reset_after) == (5, 0, True, 60.0, 60.0)
    assert limiter.inspect(FIVE, subject) == limiter.peek(FIVE, subject).limits


def test_a_refund_gives_units_back(limiter, subject):
    decision = limiter.take(STANDARD, subject, 5)
    refunded = limiter.refund(decision, cost=3)
    assert refunded.allowed
    assert [state.used for state in refunded.limits] == [2, 2, 2]


def test_a_refund_gives_back_no_more_than_is_in_use(limiter, subject):
    decision = limiter.take(FIVE, subject, 2)
    assert limiter.refund(FIVE, subject, 3, at=decision.at).limits[0].used == 0
    assert limiter.take(FIVE, subject, 5).allowed
    assert not limiter.take(FIVE, subject).allowed


def test_a_refund_to_an_unknown_subject_changes_nothing(limiter, subject):
    assert limiter.refund(FIVE, subject, 3, at=NOON / SECOND).limits[0].used == 0
    assert limiter.take(FIVE, subject).remaining == 4


def test_a_refund_of_0_changes_nothing(limiter, subject):
    decision = limiter.take(FIVE, subject, 2)
    assert limiter.refund(decision, cost=0).limits[0].used == 2


def test_a_refund_applies_to_every_charge_of_a_group(limiter, subject):
    charges = [Charge(FIVE, "key-1", 2), Charge(DAILY, "acme", 3)]
    decision = limiter.take(charges, account=subject)
    refunded = limiter.refund([Charge(FIVE, "key-1", 1), Charge(DAILY, "acme", 1)], account=subject, at=decision.at)
    assert [state.used for state in refunded.limits] == [1, 2]
    assert [state.used for state in limiter.refund(decision, cost=1).limits] == [0, 1]


def test_a_refund_undoes_a_decision_whatever_it_was_made_with(limiter, subject):
    for what in (Charge(FIVE, subject, 2), [Charge(FIVE, Subject("a", account=subject), 3), Charge(DAILY, subject, 4)]):
        decision = limiter.take(what)
        assert decision.charged
        assert {state.used for state in limiter.refund(decision).limits} == {0}


def test_a_decision_that_charged_nothing_is_returned_unchanged_and_nothing_is_sent(limiter, server, subject):
    """As `finally: limiter.refund(decision)` wants it."""
    taken = limiter.take(FIVE, subject, 5)
    denied, peeked, refunded = limiter.take(FIVE, subject), limiter.peek(FIVE, subject, 0), limiter.refund(taken, cost=1)
    degraded = Decision(True, taken.charges, degraded="Redis did not answer; admitted, as the policy fails open")
    with server.client() as client:
        calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        for decision in (denied, peeked, refunded, degraded):
            assert not decision.charged
            assert limiter.refund(decision) is decision
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == calls
    assert limiter.inspect(FIVE, subject)[0].used == 4


def test_a_decision_can_be_refunded_after_it_was_pickled(limiter, subject):
    decision = pickle.loads(pickle.dumps(limiter.take(STANDARD, subject, 3)))  # noqa: S301
    assert [state.used for state in limiter.refund(decision).limits] == [0, 0, 0]


def test_a_reset_deletes_all_counts(limiter, subject):
    limiter.take(FIVE, subject, 5)
    limiter.reset(FIVE, subject)
    assert limiter.inspect(FIVE, subject)[0].used == 0
    assert limiter.take(FIVE, subject, 5).allowed


def test_a_reset_leaves_other_policies_and_subjects_alone(limiter, subject):
    limiter.take_many([Charge(FIVE, subject), Charge(DAILY, subject), Charge(FIVE, f"{subject}-2")])
    limiter.reset(FIVE, subject)
    assert limiter.inspect(DAILY, subject)[0].used == 1
    assert limiter.inspect(FIVE, f"{subject}-2")[0].used == 1


def test_a_reset_of_a_group_deletes_each_of_its_states(limiter, subject):
    charges = [Charge(FIVE, "key-1"), Charge(DAILY, "acme")]
    limiter.take(charges, account=subject)
    limiter.reset(charges, account=subject)
    assert [state.used for state in limiter.inspect(charges, account=subject)] == [0, 0]


def test_charges_of_a_group_are_made_together_or_not_at_all(limiter, subject):
    limiter.take(DAILY, "acme", 9, account=subject)
    charges = [Charge(FIVE, "key-1", 2), Charge(DAILY, "acme", 2)]
    denied = limiter.take(charges, account=subject)
    assert (denied.allowed, denied.binding.name, denied.binding.charge.subject) == (False, "day", "acme")
    assert [state.used for state in denied.limits] == [0, 9]
    assert limiter.take([Charge(FIVE, "key-1", 5), Charge(DAILY, "acme", 1)], account=subject).allowed


def test_a_single_charge_needs_no_list(limiter, subject):
    assert limiter.take(Charge(FIVE, subject, 2)).remaining == 3
    assert limiter.take([Charge(FIVE, subject, 2)]).remaining == 1


def test_charges_of_one_subject_need_no_account(limiter, subject):
    assert [state.used for state in limiter.take([Charge(FIVE, subject), Charge(DAILY, subject)]).limits] == [1, 1]


def test_many_requests_are_answered_in_order(limiter, subject):
    requests = [Charge(FIVE, f"{subject}-{n}", n) for n in range(1, 6)] + [Charge(FIVE, f"{subject}-5")]
    decisions = limiter.take_many(requests)
    assert [decision.remaining for decision in decisions] == [4, 3, 2, 1, 0, 0]
    assert [decision.allowed for decision in decisions] == [True] * 5 + [False]
    assert [decision.charges[0].cost for decision in decisions] == [1, 2, 3, 4, 5, 1]


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 300])
def test_take_many_takes_any_number_of_requests(limiter, subject, count):
    policy = Policy("many", [SlidingWindow(250, 60)])
    decisions = limiter.take_many([Charge(policy, subject)] * count)
    assert [decision.allowed for decision in decisions] == [n < 250 for n in range(count)]


def test_each_request_of_take_many_can_be_a_group(limiter, subject):
    groups = [[Charge(FIVE, "key-1"), Charge(DAILY, "acme", 4)]] * 3
    decisions = limiter.take_many(groups, account=subject)
    assert [decision.allowed for decision in decisions] == [True, True, False]


def test_a_group_can_hold_64_charges_of_16_limits_each(limiter, subject):
    policy = Policy("wide", [SlidingWindow(5, 60 + n) for n in range(16)])
    decisions = limiter.take_many([[Charge(policy, f"key-{n}", 3) for n in range(64)]] * 2, account=subject)
    assert [decision.allowed for decision in decisions] == [True, False]
    assert [state.used for state in decisions[1].limits] == [3] * 64 * 16


def test_requests_can_come_from_an_iterator(limiter, subject):
    assert len(limiter.take_many(Charge(FIVE, subject) for _ in range(3))) == 3
    assert limiter.take(charge for charge in [Charge(FIVE, subject), Charge(DAILY, subject)]).allowed


def test_enforce_raises_on_a_denial(limiter, subject):
    assert limiter.enforce(FIVE, subject, 5).allowed
    with pytest.raises(LimitExceeded, match="has 0 of 5 left") as caught:
        limiter.enforce(FIVE, subject)
    assert caught.value.decision.retry_after == 60.0
    assert isinstance(caught.value, LimiterError)


def test_a_limited_function_runs_while_there_is_room(limiter, subject):
    calls = []

    @limiter.limited(FIVE, lambda user, **_: user, cost=2)
    def work(user, *, times):
        """Works."""
        calls.append((user, times))
        return times

    assert [work(subject, times=3), work(subject, times=4)] == [3, 4]
    with pytest.raises(LimitExceeded):
        work(subject, times=5)
    assert calls == [(subject, 3), (subject, 4)]
    assert work(f"{subject}-2", times=6) == 6


def test_a_limited_function_can_have_one_subject_for_all_calls(limiter, subject):
    work = limiter.limited(FIVE, subject)(lambda: "done")
    assert [work() for _ in range(5)] == ["done"] * 5
    with pytest.raises(LimitExceeded):
        work()


def test_prefixes_keep_counts_apart(limiter, server, prefix, clock, subject):
    limiter.take(FIVE, subject, 5)
    with Limiter(server.url, prefix=prefix, clock=clock, deadline=10) as other:
        assert other.take(FIVE, subject, 5).allowed
        other.reset(FIVE, subject)
    assert not limiter.take(FIVE, subject).allowed


def test_a_subject_has_separate_counts_in_each_account(limiter, subject):
    limiter.take(FIVE, "key-1", 5, account=subject)
    assert limiter.take(FIVE, "key-1", 5, account=f"{subject}-2").allowed
    assert limiter.take(FIVE, "key-1", 5).allowed
    limiter.reset(FIVE, "key-1")


def test_every_verb_uses_the_account_of_a_subject(limiter, subject):
    key = Subject("key-1", account=subject)
    limiter.refund(limiter.take(FIVE, key, 4), cost=1)
    assert limiter.peek(FIVE, key).remaining == 2
    assert limiter.inspect(FIVE, "key-1", account=subject)[0].used == 3
    assert limiter.take_many([Charge(FIVE, key), Charge(FIVE, "key-1", account=subject)])[1].remaining == 0
    assert not limiter.wait(FIVE, key, timeout=0.1)
    limiter.reset(FIVE, key)
    assert limiter.enforce(FIVE, key).remaining == 4


def test_the_charges_of_a_decision_carry_their_account(limiter, subject):
    for charges in ([Charge(FIVE, "key-1", 2)], [Charge(FIVE, "key-1", 2), Charge(DAILY, "acme")]):
        decision = limiter.take(charges, account=subject)
        assert {charge.account for charge in decision.charges} == {subject}
        limiter.refund(decision.charges, at=decision.at)
        assert limiter.inspect(FIVE, "key-1", account=subject)[0].used == 0
    decision = limiter.take(FIVE, "key-1", 2, account=subject)
    assert limiter.inspect(decision.charges)[0].used == 2


def test_a_charge_of_the_account_itself_need_not_name_it(limiter, subject):
    decision = limiter.take([Charge(FIVE, Subject("key-1", account=subject)), Charge(DAILY, subject)])
    assert [state.used for state in decision.limits] == [1, 1]
    assert limiter.inspect(DAILY, subject)[0].used == 1


def test_both_clients_count_together(server, prefix):
    with limiter_of("sync", server.url, prefix=prefix) as one, limiter_of("async", server.url, prefix=prefix) as other:
        assert [each.take(FIVE, "key").remaining for each in (one, other, one, other)] == [4, 3, 2, 1]


@pytest.mark.parametrize(
    "subject", ["10.0.0.1", "2001:db8::1", "user@example.org", "a:b:c", "ключ", "鍵" * 256, "x" * 256, "🔑", "%00", "~"]
)
def test_a_subject_can_be_any_short_printable_text(server, prefix, limiter, subject):
    with Limiter(server.url, prefix=prefix, deadline=10) as fresh:
        assert [fresh.take(FIVE, subject).remaining for _ in range(2)] == [4, 3]
        assert limiter.inspect(FIVE, subject)[0].charge.subject == subject


BAD_CALLS = {
    "cost must be .+, not -1": lambda limiter: limiter.take(FIVE, "key", -1),
    "cost must be .+, not 1.5": lambda limiter: limiter.take(FIVE, "key", 1.5),
    "cost must be .+, not True": lambda limiter: limiter.take(FIVE, "key", True),
    "cost must be .+, not '1'": lambda limiter: limiter.take(FIVE, "key", "1"),
    "cost must be .+, not None": lambda limiter: limiter.take(FIVE, "key", None),
    "cost must be .+, not 9007199254740992": lambda limiter: limiter.take(FIVE, "key", 2**53),
    "subject must be .+, not ''": lambda limiter: limiter.take(FIVE, ""),
    "subject must be .+, not 10,240 characters": lambda limiter: limiter.take(FIVE, "x" * 10_240),
    "subject must be .+, not b'": lambda limiter: limiter.take(FIVE, b"\x00\xff"),
    r"subject must be .+, not '\\x00": lambda limiter: limiter.take(FIVE, "\x00key"),
    r"subject must be .+, not 'a\\nb'": lambda limiter: limiter.take(FIVE, "a\nb"),
    r"subject must be .+, not '\\udcff": lambda limiter: limiter.take(FIVE, "\udcff"),
    "subject must be .+, not '{key}'": lambda limiter: limiter.take(FIVE, "{key}"),
    "subject must be .+, not 'a key'": lambda limiter: limiter.take(FIVE, "a key"),
    "subject must be .+, not 5": lambda limiter: limiter.take(FIVE, 5),
    "account must be .+, not 'a}b'": lambda limiter: limiter.take(FIVE, "key", account="a}b"),
    "account must be .+, not ''": lambda limiter: limiter.take(FIVE, "key", account=""),
    "a Policy must come with a subject, .+, not 'five' alone": lambda limiter: limiter.take(FIVE),
    "expected a Policy with a subject, .+, not 'five'": lambda limiter: limiter.take("five"),
    "subject must be given with a Policy only, not 'key'": lambda limiter: limiter.take("five", "key"),
    "policy must be a Policy, not 'five'": lambda _: Charge("five", "key"),
    "expected a Policy .+, not None": lambda limiter: limiter.take(None),
    r"expected a Policy .+, not \[\]": lambda limiter: limiter.take([]),
    r"expected a Policy .+, not \[Charge\(": lambda limiter: limiter.take([Charge(FIVE, "key"), "key"]),
    r"account= must be given with several subjects \(\['a', 'b'\]\)": lambda limiter: limiter.take([Charge(FIVE, "a"), Charge(DAILY, "b")]),
    "one account, not 'acme', 'umbrella'": lambda limiter: limiter.take(FIVE, KEY, account="umbrella"),
    "one account, not 'acme', 'other'": lambda limiter: limiter.refund([Charge(FIVE, KEY), Charge(DAILY, "key", account="other")], at=1),
    "one account, not 'acme', 'key-2'": lambda limiter: limiter.take([Charge(FIVE, KEY), Charge(DAILY, "key-2")]),
    "one account, not 'acme', 'b'": lambda limiter: limiter.reset([Charge(FIVE, KEY)], account="b"),
    "account must be .+, not 'a b'": lambda _: Subject("key", account="a b"),
    "subject must be .+, not '{key}':": lambda _: Subject("{key}", account="acme"),
    "charges of one decision must differ in policy or subject": lambda limiter: limiter.take([Charge(FIVE, "a"), Charge(FIVE, "a")]),
    "charges of one decision must be at most 64, not 65": lambda limiter: limiter.take(
        [Charge(FIVE, f"key-{n}") for n in range(65)], account="acme"
    ),
    "deadline must be .+, not 0": lambda limiter: limiter.take(FIVE, "key", deadline=0),
    "deadline must be .+, not -1": lambda limiter: limiter.take(FIVE, "key", deadline=-1),
    "deadline must be .+, not nan": lambda limiter: limiter.take(FIVE, "key", deadline=float("nan")),
    r"at must be the time .+, not None; or pass the decision: refund\(decision\)": lambda limiter: limiter.refund(FIVE, "key"),
    "at must be the time .+, not 1800014400000000;": lambda limiter: limiter.refund(FIVE, "key", at=NOON),
    "at must be the time .+, not nan": lambda limiter: limiter.refund(FIVE, "key", at=float("nan")),
    "at must be the time .+, not True": lambda limiter: limiter.refund([Charge(FIVE, "key")], at=True),
    "at must be the time .+, not -1": lambda limiter: limiter.refund(FIVE, "key", at=-1),
    "subject, at and account must not be given with a Decision": lambda limiter: limiter.refund(TAKEN, at=1),
    "cost must be at most the 1 that the decision took, not 2": lambda limiter: limiter.refund(TAKEN, cost=2),
    "cost must be a whole number .+, not -5": lambda limiter: limiter.refund(TAKEN, cost=-5),
    "timeout must be .+, not 0": lambda limiter: limiter.wait(FIVE, "key", timeout=0),
}


@pytest.mark.parametrize("said", BAD_CALLS)
def test_an_invalid_call_is_refused_before_anything_is_sent(limiter, server, said):
    with server.client() as client:
        keys, commands = client.dbsize(), client.info("commandstats").get("cmdstat_evalsha", {}).get("calls")
        with pytest.raises(InvalidPolicy, match=said):
            BAD_CALLS[said](limiter)
        assert client.dbsize() <= keys
        assert client.info("commandstats").get("cmdstat_evalsha", {}).get("calls") == commands


def test_one_invalid_request_of_many_refuses_all_of_them(limiter, subject):
    with pytest.raises(InvalidPolicy):
        limiter.take_many([Charge(FIVE, subject), "key"])
    assert limiter.inspect(FIVE, subject)[0].used == 0


def test_a_cost_above_the_capacity_is_denied_without_a_retry_after(limiter, server, subject):
    denied = limiter.take(FIVE, subject, 6)
    assert (denied.allowed, denied.retry_after, denied.remaining) == (False, None, 5)
    assert denied.reason == "cost 6 is above the capacity 5 of limit 'minute' of policy 'five': it can never pass; lower the cost"
    assert "Retry-After" not in denied.headers()
    with server.client() as client:
        assert not list(client.scan_iter(f"*{subject}*"))


@pytest.mark.parametrize("client", ["sync", "async"])
def test_wait_sleeps_until_admitted(server, prefix, client):
    """In real time: four at once, then two more, each after about 0.1 s."""
    policy = Policy("wait", [TokenBucket(4, 10, "second")])
    with limiter_of(client, server.url, prefix=prefix) as limiter:
        first = limiter.take(policy, "key", 4)
        last = [limiter.wait(policy, "key", timeout=30) for _ in range(2)][-1]
    assert last.allowed
    assert last.decided_us - first.decided_us >= 2 * SECOND // 10


@pytest.mark.parametrize("client", ["sync", "async"])
def test_wait_returns_the_denial_at_once_if_the_wait_exceeds_the_timeout(server, prefix, client):
    with limiter_of(client, server.url, prefix=prefix) as limiter:
        limiter.take(FIVE, "key", 5)
        denied = limiter.wait(FIVE, "key", timeout=20)
        assert not denied.allowed
        assert denied.retry_after > 50
        assert not limiter.wait(FIVE, "key", 6, timeout=20).allowed


def test_a_decision_carries_its_time(limiter, clock, subject):
    clock.now_us = NOON + MINUTE
    assert limiter.take(FIVE, subject).decided_us == NOON + MINUTE


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
def test_no_two_pairs_of_account_and_subject_share_a_key(account, subject, other_account, other_subject):
    """Colons in a name are harmless: the braces end the account, and the last colon begins the policy."""
    keys = set()
    pairs = {(account, subject), (other_account, other_subject)}
    for in_account, name in pairs:
        try:
            keys.add(state_key("lim", in_account, Charge(FIVE, name)))
        except InvalidPolicy:
            return
    assert len(keys) == len(pairs)
