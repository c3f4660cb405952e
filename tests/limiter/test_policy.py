"""A policy: limits under one name."""

import copy
import pickle

import pytest

from limiter import InvalidPolicy, Policy, Quota, SlidingWindow, TokenBucket


def test_a_policy_takes_limits_and_their_texts():
    policy = Policy("standard", ["100/minute", SlidingWindow(1000, 3600), "quota 5/day Europe/Berlin"], failure="open")
    assert policy.limits == (SlidingWindow(100, 60), SlidingWindow(1000, 3600), Quota.daily(5, timezone="Europe/Berlin"))
    assert policy.failure == "open"
    assert Policy("standard", iter(["100/minute"])) == Policy("standard", [SlidingWindow(100, 60)])


def test_policies_of_the_same_name_and_limits_are_equal():
    one, same, other = (Policy("standard", [SlidingWindow(capacity, 60)]) for capacity in (1, 1, 2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other


@pytest.mark.parametrize("name", ["", "a b", "a:b", "{a}", "x" * 65, None, 5, "a\n", "\x00"])
def test_an_invalid_policy_name_is_an_error(name):
    with pytest.raises(InvalidPolicy, match=r"^policy"):
        Policy(name, [SlidingWindow(1, 60)])


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ([], "policy 'p' must have 1 to 16 limits, not 0"),
        ({}, "policy 'p' must have 1 to 16 limits, not 0"),
        ([SlidingWindow(1, n) for n in range(1, 18)], "policy 'p' must have 1 to 16 limits, not 17"),
        ("100/minute", r"limits must be a list such as \['100/minute'\], not '100/minute'"),
        (SlidingWindow(1, 60), r"limits must be a list such as \[SlidingWindow\(.+\], not SlidingWindow\("),
        (None, r"limits must be a list such as \[None\], not None"),
        ([100], "policy 'p' must have limits of type .+, not 100"),
        ([None], "policy 'p' must have limits of type .+, not None"),
        ([b"100/minute"], "policy 'p' must have limits of type .+, not b'100/minute'"),
        (["100/fortnite"], "limit '100/fortnite'.*window must be .+, not 'fortnite'"),
        ([SlidingWindow(1, 60), SlidingWindow(2, 60)], "policy 'p' must have limits of different names, not 'minute' twice"),
        ([SlidingWindow(1, 60, "burst"), TokenBucket(2, 60)], "policy 'p' must have limits of different names, not 'burst' twice"),
    ],
)
def test_an_invalid_limit_is_an_error_that_names_it(limits, said):
    with pytest.raises(InvalidPolicy, match=f"^{said}"):
        Policy("p", limits)


def test_a_policy_can_have_two_windows_of_one_length_under_two_names():
    assert len(Policy("p", [SlidingWindow(1, 60), SlidingWindow(2, 60, "other")]).limits) == 2


def test_every_policy_can_be_pickled_and_copied():
    limits = [SlidingWindow(1, 60), TokenBucket(2, 60), Quota.hourly(3), Quota.daily(4), Quota.weekly(5, anchor=7), Quota.monthly(6)]
    policy = Policy("every", limits, failure="closed")
    for other in (pickle.loads(pickle.dumps(policy)), copy.copy(policy), copy.deepcopy(policy)):  # noqa: S301 - pickled here
        assert (other, hash(other)) == (policy, hash(policy))
        assert other.wire.at(10**15) == policy.wire.at(10**15)


def test_policies_of_one_name_have_different_hashes():
    assert len({hash(Policy("own", [SlidingWindow(capacity, 60)])) for capacity in range(1, 1001)}) == 1000
