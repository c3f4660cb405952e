"""Decisions as answers of the data plane."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import Charge, Decision, Policy, SlidingWindow, TokenBucket
from limiter.api.numbers import Numbers
from limiter.api.rules import Rules

STANDARD = Policy("standard", [SlidingWindow(100, 60), SlidingWindow(1000, 3600), TokenBucket(50, 10)])
ACCOUNT = Policy("account", [SlidingWindow(500, 60), SlidingWindow(90, 3600, shadow=True)])
POLICIES = (STANDARD, ACCOUNT)
LIMITS = [limit for policy in POLICIES for limit in policy.limits]
HEADERS = (
    "ratelimit-policy",
    "ratelimit",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "retry-after",
    "cache-control",
)

used = st.integers(0, 1200)
waits = st.one_of(st.just(0), st.just(-1), st.integers(1, 4_000_000_000))
resets = st.integers(0, 4_000_000_000)


def decided(allowed, numbers, decided_us=1_700_000_000_000_000):
    charges = tuple(Charge(policy, "key-1") for policy in POLICIES)
    return Decision(allowed, charges, [number for limit in numbers for number in limit], decided_us)


def answer_to(decision, **options):
    numbers = Numbers(POLICIES, Rules(policies={}, **options))
    return numbers.allowed(decision) if decision.allowed else numbers.denied(decision)


def texts(answer):
    return {name.decode(): value.decode() for name, value in answer.headers if name.decode() in HEADERS}


@given(
    st.lists(st.tuples(used, waits, resets), min_size=len(LIMITS), max_size=len(LIMITS)), st.booleans(), st.sampled_from(["delta", "epoch"])
)
def test_the_header_lines_are_those_of_decision_headers(numbers, allowed, reset):
    blocking = any(wait for (_, wait, _), limit in zip(numbers, LIMITS, strict=True) if not limit.shadow)
    decision = decided(allowed or not blocking, numbers)
    expected = {name.lower(): value for name, value in decision.headers(reset).items()}
    assert texts(answer_to(decision, reset=reset)) == expected


def test_a_denial_names_every_limit_without_room():
    answer = answer_to(decided(False, [(100, 5_000_000, 60_000_000), (7, 0, 1), (50, 90_100_000, 1), (3, 0, 1), (1, 0, 1)]))
    body = json.loads(answer.body)
    assert answer.status == 429
    assert body["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert body["violated-policies"] == ["standard.minute", "burst"]
    assert body["detail"] == "The limit 'burst' allows 50; try again in 91 s."


def test_a_request_that_can_never_pass_has_no_retry_after():
    answer = answer_to(decided(False, [(0, -1, 0), (7, 9_000_000, 1), (0, 0, 1), (3, 0, 1), (1, 0, 1)]), should_retry=True)
    names = dict(answer.headers)
    assert b"retry-after" not in names
    assert names[b"x-should-retry"] == b"false"
    assert "never" in json.loads(answer.body)["detail"]


@pytest.mark.parametrize(("wait_us", "should_retry"), [(60_000_000, None), (60_000_001, b"false")])
def test_hints_for_generated_clients_are_opt_in(wait_us, should_retry):
    decision = decided(False, [(100, wait_us, 61_000_000), (7, 0, 1), (0, 0, 1), (3, 0, 1), (1, 0, 1)])
    names = dict(answer_to(decision, should_retry=True, retry_after_ms=True).headers)
    assert names[b"retry-after-ms"] == b"%d" % -(-wait_us // 1000)
    assert names.get(b"x-should-retry") == should_retry
    assert not {b"retry-after-ms", b"x-should-retry"} & dict(answer_to(decision).headers).keys()


def test_a_degraded_decision_has_the_degraded_header():
    charges = (Charge(STANDARD, "key-1"),)
    open_, closed = answer_to(Decision(True, charges, degraded="down")), answer_to(Decision(False, charges, degraded="down"))
    assert (open_.status, dict(open_.headers)) == (200, {b"x-ratelimit-degraded": b"open"})
    assert closed.status == 503
    assert dict(closed.headers)[b"retry-after"] == b"1"
    assert json.loads(closed.body)["degraded"] == "closed"
