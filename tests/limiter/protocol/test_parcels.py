"""How many groups travel in one call."""

from itertools import zip_longest

from hypothesis import given
from hypothesis import strategies as st

from limiter import Charge, Policy, SlidingWindow
from limiter.protocol.group import Operation, grouped
from limiter.protocol.parcels import MOST_GROUPS, MOST_LIMITS, fitting, parcels

POLICIES = {number: Policy(f"of-{number}", [SlidingWindow(9, 60 + each, f"l{each}") for each in range(number)]) for number in (1, 3, 16)}


def group(limits, charges):
    return grouped("t", [Charge(POLICIES[limits], f"s{each}") for each in range(charges)], None, 1, "acme", Operation.TAKE)


def limits_of(groups):
    return sum(len(charge.policy.limits) for group in groups for charge in group.charges)


@given(st.lists(st.tuples(st.sampled_from(sorted(POLICIES)), st.sampled_from((1, 2, 16, 40))).map(lambda size: group(*size)), max_size=300))
def test_parcels_keep_the_order_and_are_as_large_as_the_bounds_allow(groups):
    found = list(parcels(groups))
    assert [each for parcel in found for each in parcel] == groups
    for parcel, following in zip_longest(found, found[1:]):
        assert len(parcel) <= MOST_GROUPS
        assert limits_of(parcel) <= MOST_LIMITS or len(parcel) == 1
        if following:
            assert len(parcel) == MOST_GROUPS or limits_of([*parcel, following[0]]) > MOST_LIMITS


def test_a_group_above_the_bound_travels_alone():
    assert fitting([group(16, 64), group(1, 1)]) == 1
