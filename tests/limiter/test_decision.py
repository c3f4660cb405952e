"""A decision, as data."""

import copy
import pickle

import pytest

from limiter import Charge, Decision, LimitExceeded, Policy, SlidingWindow

POLICY = Policy("standard", [SlidingWindow(100, 60), SlidingWindow(1000, 3600), SlidingWindow(5, "day", shadow=True)])
CHARGES = (Charge(POLICY, "key-1", 3),)


def decided(allowed, *numbers):
    """A decision with (used, wait, reset) of each limit, in seconds."""
    return Decision(
        allowed, CHARGES, [part if i == 0 else int(part * 1_000_000) for n in numbers for i, part in enumerate(n)], 1_800_000_000_250_000
    )


ALLOWED = decided(True, (58, 0, 17.2), (59, 0, 3120), (4, 0, 100))
DENIED = decided(False, (99, 17.2, 60), (998, 0, 3600), (4, 0, 100))
DENIED_LONGER = decided(False, (99, 17.2, 60), (1000, 3120.5, 3600), (5, 80_000, 86_400))
NEVER = decided(False, (0, 0, 0), (0, 0, 0), (0, 0, 0))


def test_a_limit_state_is_in_units_and_seconds():
    minute = ALLOWED.limits[0]
    assert (minute.name, minute.capacity, minute.used, minute.remaining) == ("minute", 100, 58, 42)
    assert (minute.retry_after, minute.reset_after, minute.blocks) == (0.0, 17.2, False)
    assert (minute.charge, minute.limit) == (CHARGES[0], POLICY.limits[0])
    assert DENIED.limits[0].retry_after == 17.2
    assert DENIED.limits[0].blocks


def test_remaining_is_never_below_zero():
    """After an edit, the units in use may exceed the new capacity."""
    assert decided(True, (150, 0, 60), (0, 0, 0), (0, 0, 0)).limits[0].remaining == 0


def test_the_limit_with_the_least_left_binds_an_allowance():
    assert ALLOWED.binding.name == "minute"
    assert (ALLOWED.remaining, ALLOWED.retry_after, ALLOWED.reset_after) == (42, 0.0, 17.2)


def test_the_limit_that_blocks_longest_binds_a_denial():
    assert DENIED.binding.name == "minute"
    assert (DENIED_LONGER.binding.name, DENIED_LONGER.retry_after) == ("hour", 3120.5)


def test_a_shadow_limit_never_binds_beside_enforced_ones():
    assert ALLOWED.limits[2].remaining < ALLOWED.remaining
    assert [state.name for state in ALLOWED.enforced] == ["minute", "hour"]


def test_if_all_limits_are_in_shadow_one_binds_and_there_are_no_headers():
    policy = Policy("trial", [SlidingWindow(5, 60, shadow=True)])
    decision = Decision(True, (Charge(policy, "key"),), [5, 60_000_000, 60_000_000], 1)
    assert (decision.remaining, decision.retry_after) == (0, 0.0)
    assert decision.headers() == {}


def test_a_decision_is_true_if_it_allows():
    assert ALLOWED
    assert not DENIED


def test_an_exception_carries_the_decision_and_its_reason():
    error = LimitExceeded(DENIED)
    assert error.decision is DENIED
    assert (error.retry_after, error.headers(), error.outage) == (17.2, DENIED.headers(), False)
    assert str(error) == DENIED.reason == "limit 'minute' of policy 'standard' has 1 of 100 left for 'key-1': retry in 17.200 s"


def test_an_exception_says_whether_it_is_an_outage():
    error = LimitExceeded(Decision(False, CHARGES, degraded="Redis is down; refused, as the policy fails closed"))
    assert error.outage
    assert (str(error), error.retry_after) == ("Redis is down; refused, as the policy fails closed", None)
    assert error.headers("epoch") == {"Cache-Control": "no-store"}


def test_an_exception_can_be_pickled_and_copied():
    """A process pool pickles the exceptions of its tasks."""
    for error in (pickle.loads(pickle.dumps(LimitExceeded(DENIED))), copy.copy(LimitExceeded(DENIED))):  # noqa: S301 - pickled here
        assert (error.decision, str(error)) == (DENIED, DENIED.reason)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_degraded_decision_has_no_numbers(allowed):
    decision = Decision(allowed, CHARGES, degraded="Redis is down")
    assert (decision.limits, decision.binding, decision.remaining, decision.reset_after) == ((), None, None, None)
    assert decision.reason == "Redis is down"
    assert decision.retry_after == (0.0 if allowed else None)
