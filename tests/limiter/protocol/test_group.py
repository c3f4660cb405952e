"""A group with a guard is rejected if the caller's data of the account is out of date."""

import asyncio

import pytest

from limiter import AsyncLimiter, Charge, Policy, SlidingWindow
from limiter.protocol.call import Stale
from limiter.protocol.group import Group, Guard, grouped

FIVE = Policy("five", [SlidingWindow(5, 60)])


@pytest.fixture
def generation(prefix):
    return f"{prefix}:{{acme}}:gen".encode()


def verdicts(server, *groups):
    async def scenario():
        async with AsyncLimiter(server.url, deadline=10) as limiter:
            return await asyncio.gather(*(limiter.verdict(group) for group in groups))

    return asyncio.run(scenario())


def guarded(prefix, key, generation, cost=1):
    plain = grouped(prefix, Charge(FIVE, "key", cost), None, 1, "acme")
    return Group(plain.charges, plain.keys, guard=Guard(key, generation))


def test_a_group_of_the_current_generation_is_decided(server, client, prefix, generation):
    client.set(generation, 7)
    taken, denied = verdicts(server, guarded(prefix, generation, 7, 4), guarded(prefix, generation, 7, 2))
    assert (taken.allowed, taken.remaining, denied.allowed) == (True, 1, False)


@pytest.mark.parametrize(("stored", "known"), [(7, 6), (7, 8), (7, 0), (None, 1), (2**53 - 1, 2**53 - 2)])
def test_a_group_of_another_generation_is_rejected_and_charges_nothing(server, client, prefix, generation, stored, known):
    """This also holds for a group that the limit would deny."""
    if stored is not None:
        client.set(generation, stored)
    refused = verdicts(server, guarded(prefix, generation, known), guarded(prefix, generation, known, 6))
    assert refused == [Stale.GENERATION] * 2
    assert not client.exists(f"{prefix}:{{acme}}:key:five")


def test_an_account_without_a_generation_has_generation_0(server, prefix, generation):
    (taken,) = verdicts(server, guarded(prefix, generation, 0))
    assert taken.allowed


def test_a_rejected_group_does_not_affect_others_of_its_call(server, client, prefix, generation):
    client.set(generation, 7)
    plain = grouped(prefix, Charge(FIVE, "key"), None, 1, "acme")
    answers = verdicts(server, plain, guarded(prefix, generation, 6), plain, guarded(prefix, generation, 7), guarded(prefix, generation, 6))
    assert [answer if isinstance(answer, Stale) else answer.limits[0].used for answer in answers] == [
        1,
        Stale.GENERATION,
        2,
        3,
        Stale.GENERATION,
    ]
