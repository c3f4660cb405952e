"""A take that got no answer is repeated with its idempotency key: it charges once, whatever happened to the first call."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from limiter import BackendTimeout, InvalidPolicy, Limiter, Policy
from limiter.protocol.group import grouped
from limiter.protocol.idempotency import once
from support.drivers import CLIENTS, limiter_of
from support.servers.relay import lost, whole

TEN = Policy("ten", ["10/minute", "20/hour"])
CLOSED = Policy("closed", ["10/minute", "20/hour"], failure="closed")


@pytest.fixture(params=CLIENTS)
def connected(request, relay, prefix):
    with limiter_of(request.param, relay.url, prefix=prefix) as limiter:
        limiter.take(TEN, "warm")
        yield limiter


@pytest.fixture
def used(server, prefix):
    """The count in Redis, read without the relay."""
    with Limiter(server.url, prefix=prefix, deadline=10) as direct:
        yield lambda policy=TEN: direct.inspect(policy, "key")[0].used


def test_a_take_whose_reply_is_lost_is_repeated_without_a_second_charge(connected, relay, used):
    relay.answer = lost
    with pytest.raises(BackendTimeout):
        connected.take(TEN, "key", 3, deadline=0.5, idempotency_key="a")
    relay.answer = whole
    decision = connected.take(TEN, "key", 3, idempotency_key="a")
    assert (decision.allowed, decision.charged, decision.remaining, used()) == (True, True, 7, 3)
    assert connected.refund(decision).remaining == 10


def test_a_take_that_redis_answers_too_late_is_repeated_without_a_second_charge(connected, relay, used):
    """The first answer, a denial by the failure mode, was wrong: Redis had charged. The repetition is allowed."""
    released = relay.hold()
    late = connected.take(CLOSED, "key", 3, deadline=0.5, idempotency_key="a")
    assert (late.allowed, late.charged) == (False, False)
    released.set()
    relay.answer = whole
    assert connected.take(CLOSED, "key", 3, idempotency_key="a").allowed
    assert used(CLOSED) == 3


def test_a_refund_whose_reply_is_lost_is_repeated_and_gives_back_once(connected, relay, used):
    first = connected.take(TEN, "key", 3)
    connected.take(TEN, "key", 3)
    relay.answer = lost
    with pytest.raises(BackendTimeout):
        connected.refund(first, deadline=0.5, idempotency_key="a")
    relay.answer = whole
    assert connected.refund(first, idempotency_key="a").remaining == 7
    assert used() == 3


def test_equal_takes_at_the_same_time_charge_once(server, prefix, used):
    """Each on its own connection, as on several sidecars."""

    def take(number: int):
        with limiter_of(CLIENTS[number % 2], server.url, prefix=prefix) as limiter:
            return [limiter.take(TEN, "key", 2, idempotency_key=f"key-{n}") for n in range(3)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(take, range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert used() == 6


def test_equal_keys_of_two_callers_are_two_keys(connected, prefix, used):
    group = grouped(prefix, TEN, "key", 1, None)
    for caller in ("one", "two", "one"):
        connected.decide(once(group, "a", caller))
    assert used() == 2


@pytest.mark.parametrize("key", ["", " ", "a b", 'a"b', "a\\b", "ä", "a\n", "x" * 256, 7, b"a"])
def test_a_key_is_visible_ascii_of_bounded_length(connected, key):
    with pytest.raises(InvalidPolicy, match="idempotency key must be a str of 1 to 255 visible ASCII characters") as raised:
        connected.take(TEN, "key", idempotency_key=key)
    assert len(str(raised.value)) < 250


def test_what_is_remembered_expires_after_ten_minutes(connected, client, prefix):
    connected.take(TEN, "key", idempotency_key="a")
    (name,) = client.keys(f"{prefix}:{{key}}:once-*")
    assert 540_000 < client.pttl(name) <= 600_001
