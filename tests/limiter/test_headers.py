"""A decision as response headers."""

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import Charge, Decision, Policy, Quota, SlidingWindow, TokenBucket

STANDARD = Policy("standard", [SlidingWindow(100, 60), SlidingWindow(1000, 3600)])
DAILY = Policy("daily", [Quota.daily(5000), SlidingWindow(2000, 3600)])
BURST = Policy("burst", [TokenBucket(capacity=50, refill=1200, per="minute")])
NOW = 1_800_000_000_250_000


def headers(policies, allowed, *numbers, reset="delta"):
    """The headers of a decision with (used, wait, reset) of each limit, in microseconds."""
    charges = tuple(Charge(policy, "key") for policy in policies)
    return Decision(allowed, charges, [part for each in numbers for part in each], NOW).headers(reset)


def parsed(value):
    return [(str(name), dict(parameters)) for name, parameters in http_sf.parse(value.encode(), tltype="list")]


def test_an_allowance_has_the_headers_of_the_contract():
    assert headers([STANDARD], True, (58, 0, 16_000_001), (59, 0, 3_120_000_000)) == {
        "RateLimit-Policy": '"minute";q=100;w=60, "hour";q=1000;w=3600',
        "RateLimit": '"minute";r=42;t=17, "hour";r=941;t=3120',
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "42",
        "X-RateLimit-Reset": "17",
    }


def test_a_denial_adds_retry_after_and_cache_control():
    sent = headers([STANDARD], False, (100, 17_000_001, 59_000_000), (800, 0, 3_120_000_000))
    assert sent["Retry-After"] == "18"
    assert sent["Cache-Control"] == "no-store"
    assert sent["RateLimit"] == '"minute";r=0;t=18, "hour";r=200;t=3120'
    assert (sent["X-RateLimit-Limit"], sent["X-RateLimit-Remaining"], sent["X-RateLimit-Reset"]) == ("100", "0", "18")


def test_retry_after_is_that_of_the_limit_that_blocks_longest():
    sent = headers([STANDARD], False, (100, 17_000_000, 59_000_000), (1000, 3_120_000_000, 3_600_000_000))
    assert sent["Retry-After"] == "3120"
    assert sent["X-RateLimit-Limit"] == "1000"


def test_reset_can_be_a_unix_time():
    sent = headers([STANDARD], True, (58, 0, 17_000_000), (59, 0, 3_120_000_000), reset="epoch")
    assert sent["X-RateLimit-Reset"] == "1800000018"
    assert sent["RateLimit"] == '"minute";r=42;t=17, "hour";r=941;t=3120'


def test_a_wait_is_rounded_up_to_a_whole_second():
    """Clients would retry at once after 0, and some raise an error at a fraction."""
    assert headers([BURST], False, (50, 1, 2_500_000))["Retry-After"] == "1"


def test_a_cost_that_can_never_pass_has_no_retry_after():
    sent = headers([BURST], False, (0, -1, 0))
    assert "Retry-After" not in sent
    assert sent["Cache-Control"] == "no-store"
    assert sent["RateLimit"] == '"burst";r=50;t=0'


def test_limits_of_one_name_are_prefixed_with_their_policies():
    sent = headers([STANDARD, DAILY], True, *[(1, 0, 1_000_000)] * 4)
    assert [name for name, _ in parsed(sent["RateLimit"])] == ["minute", "standard.hour", "day", "daily.hour"]
    assert [name for name, _ in parsed(sent["RateLimit-Policy"])] == ["minute", "standard.hour", "day", "daily.hour"]


def test_limits_of_several_subjects_have_different_names():
    charges = (Charge(STANDARD, "a"), Charge(STANDARD, "b"), Charge(Policy("other", [SlidingWindow(1, 60, "standard.hour")]), "c"))
    sent = Decision(True, charges, [1, 0, 1_000_000] * 5, NOW).headers()
    expected = ["standard.minute", "standard.hour", "standard.minute.2", "standard.hour.2", "standard.hour.3"]
    assert [name for name, _ in parsed(sent["RateLimit"])] == expected
    assert [name for name, _ in parsed(sent["RateLimit-Policy"])] == expected


def test_the_largest_quota_is_a_valid_header():
    policy = Policy("large", [Quota.daily(999_999_999_999_999)])
    sent = headers([policy], True, (0, 0, 0))
    assert parsed(sent["RateLimit-Policy"]) == [("day", {"q": 999_999_999_999_999, "w": 86_400})]
    assert parsed(sent["RateLimit"]) == [("day", {"r": 999_999_999_999_999, "t": 0})]


def test_shadow_limits_are_not_in_headers():
    policy = Policy("trial", [SlidingWindow(100, 60), SlidingWindow(5, 3600, shadow=True)])
    assert headers([policy], True, (1, 0, 60_000_000), (5, 3_600_000_000, 3_600_000_000))["RateLimit"] == '"minute";r=99;t=60'


@pytest.mark.parametrize("allowed", [True, False])
def test_a_degraded_decision_has_no_figures(allowed):
    sent = Decision(allowed, (Charge(STANDARD, "key"),), degraded="Redis is down").headers()
    assert sent == ({} if allowed else {"Cache-Control": "no-store"})


numbers = st.tuples(st.integers(0, 200), st.just(0) | st.integers(1, 10**13), st.integers(0, 10**13))


@given(st.booleans(), numbers, numbers, st.from_regex(r"[A-Za-z0-9_.*/-]{1,64}", fullmatch=True))
def test_headers_are_structured_lists_of_strings_with_whole_numbers(allowed, one, other, name):
    policy = Policy("any", [SlidingWindow(100, 60, name), SlidingWindow(150, 3600, f"x{name}"[:64])])
    if not allowed and not one[1] and not other[1]:
        one = (one[0], 1, one[2])
    if allowed:
        one, other = (one[0], 0, one[2]), (other[0], 0, other[2])
    sent = headers([policy], allowed, one, other)
    for field, whole in (("RateLimit-Policy", {"q", "w"}), ("RateLimit", {"r", "t"})):
        items = parsed(sent[field])
        assert [item for item, _ in items] == [limit.name for limit in policy.limits]
        assert all(
            set(parameters) == whole and all(type(each) is int and each >= 0 for each in parameters.values()) for _, parameters in items
        )
    if not allowed:
        blocking = dict(parsed(sent["RateLimit"]))
        assert int(sent["Retry-After"]) == max(
            blocking[limit.name]["t"] for limit, each in zip(policy.limits, (one, other), strict=True) if each[1]
        )
        assert int(sent["Retry-After"]) >= 1
        assert int(sent["Retry-After"]) * 1_000_000 >= max(one[1], other[1])


@given(st.booleans(), numbers, numbers, numbers, st.integers(0, 2))
def test_the_older_headers_are_those_of_the_binding_limit(allowed, one, two, three, shadow):
    limits = [SlidingWindow(100 + place, 60 + place, f"limit-{place}", shadow=place == shadow) for place in range(3)]
    figures = (*one, *two, *three)
    decision = Decision(allowed, (Charge(Policy("any", limits), "key"),), figures, NOW)
    headers, binding = decision.headers(), decision.binding
    assert headers["X-RateLimit-Limit"] == str(binding.capacity)
    assert headers["X-RateLimit-Remaining"] == str(binding.remaining) == str(decision.remaining)
    if not allowed:
        assert float(headers["Retry-After"]) >= binding.retry_after
