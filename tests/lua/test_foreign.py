"""A value at the key of a state that no limiter wrote fails its own group at most, never the call."""

import math
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limiter import BackendError, Charge, Policy, Quota, SlidingWindow, TokenBucket
from limiter.protocol.group import state_key
from support.clock import NOON, SECOND
from support.drivers import a_subject
from support.examples import examples

POLICY = Policy(
    "foreign", [SlidingWindow(100, 60), TokenBucket(50, 1201, 0.001), Quota.daily(1000), SlidingWindow(500, 3600)], failure="closed"
)
OTHER = Policy("foreign", [Quota.daily(1000), SlidingWindow(500, 3600), Quota.monthly(5)], failure="closed")


def groups_of(limiter, subject, good):
    """Takes, a peek and a refund of the foreign subject, under two versions of the policy, between takes of a good one."""
    good_take = limiter._group(POLICY, good, 1, None)  # noqa: SLF001 - a batch of several operations, as the asyncio client sends it
    return [good_take, *(each for policy in (POLICY, OTHER) for each in (limiter._group(policy, subject, 1, None), good_take))]  # noqa: SLF001


def assert_only_its_own_group_fails(limiter, client, clock, value: bytes) -> None:
    subject, good = a_subject(), a_subject()
    key = state_key(limiter.settings.prefix, subject, Charge(POLICY, subject))
    client.set(key, value)
    decisions = limiter.decide_many(groups_of(limiter, subject, good))
    assert [(decision.allowed, decision.limits[0].used) for decision in decisions[::2]] == [(True, 1), (True, 2), (True, 3)]
    clock.now_us += SECOND
    for at in (0, NOON / SECOND):
        limiter.refund(POLICY, subject, at=at)
    limiter.peek(OTHER, subject)
    client.delete(key)


# Strings that end like a state and are too short or too long for it.
ZEROS = st.builds(lambda size, count: bytes(size) + bytes([32 + count]), st.integers(0, 400), st.integers(0, 31))


@examples(50)
@given(st.binary(max_size=200) | ZEROS)
@example(bytes(9) + b"!")
@example(b"123")
@example(b"")
@example(b"\xff" * 64)
@example(b"1" * 100_000)
def test_any_string_at_a_state_key_fails_no_other_group(limiter, client, clock, value):
    clock.now_us = NOON
    assert_only_its_own_group_fails(limiter, client, clock, value)


@examples(80)
@given(st.data())
def test_a_damaged_state_fails_no_other_group(limiter, client, clock, data):
    """A state with full rings and kept limits, of which some bytes are changed, or which is cut or longer."""
    subject = a_subject()
    key = state_key(limiter.settings.prefix, subject, Charge(POLICY, subject))
    clock.now_us = NOON - 20 * SECOND
    for policy in (OTHER, POLICY):
        for _ in range(data.draw(st.integers(0, 12))):
            clock.now_us += SECOND
            limiter.take(policy, subject)
    clock.now_us = NOON
    value = bytearray(client.get(key) or b"")
    size = len(value)
    for place in data.draw(st.lists(st.integers(0, max(0, size - 1)), max_size=6)):
        byte = data.draw(st.sampled_from((0, 1, 127, 128, 240, 255)))
        width = data.draw(st.sampled_from((1, 1, 4, 8)))
        value[place : place + width] = bytes([byte]) * len(value[place : place + width])
    cut = data.draw(st.integers(0, size))
    value = data.draw(st.sampled_from((value, value[:cut], value + value[cut:])))
    assert_only_its_own_group_fails(limiter, client, clock, bytes(value))


@pytest.mark.parametrize("fill", [b"\x7f", b"\xff", b"\xf0", b"\x7f\xf0"])
def test_a_state_whose_fields_are_no_numbers_fails_no_other_group(limiter, client, clock, fill):
    """The shape is right, and all that follows is not."""
    subject = a_subject()
    key = state_key(limiter.settings.prefix, subject, Charge(POLICY, subject))
    clock.now_us = NOON
    limiter.take(POLICY, subject)
    shape = client.get(key)[:4]
    assert_only_its_own_group_fails(limiter, client, clock, shape + fill * 200)


def test_a_state_that_ends_at_a_time_that_is_no_number_fails_no_other_group(limiter, client, clock):
    """The time when the last of its kept limits is over stands before the lifetimes and tags of the others."""
    subject = a_subject()
    key = state_key(limiter.settings.prefix, subject, Charge(POLICY, subject))
    clock.now_us = NOON
    for policy in (OTHER, POLICY):
        limiter.take(policy, subject)
    state, behind = client.get(key), 12 * len(POLICY.limits) + 1
    assert_only_its_own_group_fails(limiter, client, clock, state[: -behind - 8] + struct.pack("<d", math.nan) + state[-behind:])


def test_a_foreign_string_counts_as_unused(limiter, client, clock):
    subject = a_subject()
    clock.now_us = NOON
    client.set(state_key(limiter.settings.prefix, subject, Charge(POLICY, subject)), "123")
    assert [state.used for state in limiter.take(POLICY, subject).limits] == [1, 1, 1, 1]


def test_a_value_of_another_type_fails_its_own_group(limiter, client, clock):
    subject, plain = a_subject(), Policy("plain", [SlidingWindow(5, 60)])
    clock.now_us = NOON
    client.rpush(state_key(limiter.settings.prefix, subject, Charge(POLICY, subject)), "a list")
    decisions = limiter.take_many([Charge(POLICY, subject), Charge(POLICY, a_subject())] * 40)
    assert [decision.allowed for decision in decisions] == [False, True] * 40
    client.rpush(state_key(limiter.settings.prefix, subject, Charge(plain, subject)), "a list")
    with pytest.raises(BackendError, match="must be a count"):
        limiter.take(plain, subject)
