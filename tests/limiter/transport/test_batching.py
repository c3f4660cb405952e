"""Batching: at most two calls in flight, later callers share the next, and every caller keeps its own deadline."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import AsyncLimiter, BackendError, BackendTimeout, Charge, Limiter, Policy, SlidingWindow
from support.drivers import a_subject
from support.examples import examples
from support.servers.relay import lost, whole
from support.waiting import eventually

POLICY = Policy("batched", [SlidingWindow(100_000, 3600)])


@pytest.fixture
def calls(server):
    """Returns the number of script calls that have reached Redis since the last time."""
    with server.client() as client:

        def counted():
            stats = client.info("commandstats")
            return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))

        seen = counted()

        def calls():
            nonlocal seen
            before, seen = seen, counted()
            return seen - before

        yield calls


@pytest.fixture
def count(server, prefix):
    with Limiter(server.url, prefix=prefix, deadline=10) as direct:
        yield lambda subject="key": direct.inspect(POLICY, subject)[0].used


@contextlib.asynccontextmanager
async def warm(source, prefix):
    """A limiter with an open connection, whose script Redis has loaded."""
    async with AsyncLimiter(source, prefix=prefix, deadline=10) as limiter:
        await limiter.take(POLICY, "warm")
        yield limiter


async def in_flight(relay, call):
    """Start a call and return once it has reached Redis."""
    begun = len(relay.sent)
    flying = asyncio.ensure_future(call)
    await asyncio.to_thread(eventually, lambda: b"EVALSHA" in relay.sent[begun:], "the call to reach Redis")
    return flying


def test_concurrent_callers_share_a_call(server, prefix, calls, count):
    async def scenario():
        async with warm(server.url, prefix) as limiter:
            calls()
            return await asyncio.gather(*(limiter.take(POLICY, "key") for _ in range(32)))

    decisions = asyncio.run(scenario())
    assert [decision.limits[0].used for decision in decisions] == list(range(1, 33))
    assert calls() == 1
    assert count() == 32


def test_many_concurrent_callers_are_split_between_two_calls(server, prefix, calls, count):
    """Redis runs one call while the results of the other are delivered."""

    async def scenario():
        async with warm(server.url, prefix) as limiter:
            calls()
            return await asyncio.gather(*(limiter.take(POLICY, "key") for _ in range(64)))

    decisions = asyncio.run(scenario())
    assert sorted(decision.limits[0].used for decision in decisions) == list(range(1, 65))
    assert calls() == 2
    assert count() == 64


def test_callers_wait_while_two_calls_are_in_flight(relay, prefix, calls):
    async def scenario():
        async with warm(relay.url, prefix) as limiter:
            calls()
            released = relay.hold()
            flying = [await in_flight(relay, limiter.take(POLICY, "key")) for _ in range(2)]
            others = [asyncio.ensure_future(limiter.take(POLICY, "key")) for _ in range(30)]
            with pytest.raises(BackendTimeout):
                await limiter.take(POLICY, "key", deadline=0.1)
            assert relay.sent.count(b"EVALSHA") == 3
            released.set()
            await asyncio.gather(*flying, *others)

    asyncio.run(scenario())
    assert calls() == 3


def test_callers_that_arrive_during_a_call_share_the_next(relay, prefix, calls):
    async def scenario():
        async with warm(relay.url, prefix) as limiter:
            calls()
            released = relay.hold()
            first = await in_flight(relay, limiter.take(POLICY, "key"))
            others = [asyncio.ensure_future(limiter.take(POLICY, "key")) for _ in range(50)]
            await asyncio.sleep(0)
            assert relay.sent.count(b"EVALSHA") == 2
            released.set()
            await asyncio.gather(first, *others)

    asyncio.run(scenario())
    assert calls() == 2


@pytest.mark.parametrize(("callers", "batches"), [(32, 1), (128, 2), (256, 2), (257, 3)])
def test_a_batch_holds_128_decisions_at_most(server, prefix, calls, count, callers, batches):
    async def scenario():
        async with warm(server.url, prefix) as limiter:
            calls()
            await asyncio.gather(*(limiter.take(POLICY, "key") for _ in range(callers)))

    asyncio.run(scenario())
    assert calls() == batches
    assert count() == callers


def test_take_many_is_one_call(server, prefix, calls):
    async def scenario():
        async with warm(server.url, prefix) as limiter:
            calls()
            return await limiter.take_many([Charge(POLICY, "key")] * 30)

    assert len(asyncio.run(scenario())) == 30
    assert calls() == 1


def test_the_calls_of_one_take_many_follow_each_other(relay, prefix):
    """Redis may carry out two calls on two connections in either order."""

    async def scenario():
        async with warm(relay.url, prefix) as limiter:
            begun = len(relay.sent)
            released = relay.hold()
            many = await in_flight(relay, limiter.take_many([Charge(POLICY, "many")] * 300))
            await in_flight(relay, limiter.take(POLICY, "other"))
            assert [b":many:" in call for call in relay.sent[begun:].split(b"EVALSHA")[1:]] == [True, False]
            released.set()
            return await many

    assert [decision.limits[0].used for decision in asyncio.run(scenario())] == list(range(1, 301))


@pytest.mark.parametrize(("others", "requests"), [(0, 128), (60, 100), (120, 128)])
def test_128_requests_of_one_take_many_share_a_call_whatever_else_waits(relay, prefix, others, requests):
    async def scenario():
        async with warm(relay.url, prefix) as limiter:
            begun = len(relay.sent)
            takes = [limiter.take(POLICY, "other") for _ in range(others)]
            *_, many = await asyncio.gather(*takes, limiter.take_many([Charge(POLICY, "many")] * requests))
            assert [decision.limits[0].used for decision in many] == list(range(1, requests + 1))
            return relay.sent[begun:].split(b"EVALSHA")[1:]

    assert [b":many:" in call for call in asyncio.run(scenario())].count(True) == 1


def test_a_call_ends_at_512_limits_and_requests_keep_their_order(server, prefix, calls):
    """Each request has 16 charges of 16 limits: Redis would be held for 115 ms by 128 of them."""
    wide = Policy("wide", [SlidingWindow(1000, 60 + n, f"limit-{n}") for n in range(16)])
    request = [Charge(wide, f"key-{n}") for n in range(16)]

    async def scenario():
        async with warm(server.url, prefix) as limiter:
            calls()
            return await limiter.take_many([request] * 40, account="acme")

    decisions = asyncio.run(scenario())
    assert [decision.limits[0].used for decision in decisions] == list(range(1, 41))
    assert calls() == 20


def test_wide_requests_of_several_callers_are_divided_too(server, prefix, calls):
    wide = Policy("wide", [SlidingWindow(1000, 60 + n, f"limit-{n}") for n in range(16)])

    async def scenario():
        async with warm(server.url, prefix) as limiter:
            calls()
            many = limiter.take_many([Charge(wide, "many")] * 30)
            *takes, together = await asyncio.gather(*(limiter.take(wide, "key") for _ in range(40)), many)
            return takes, together

    takes, together = asyncio.run(scenario())
    assert sorted(decision.limits[0].used for decision in takes) == list(range(1, 41))
    assert [decision.limits[0].used for decision in together] == list(range(1, 31))
    assert calls() == 3


def test_a_lone_caller_is_not_delayed(server, prefix, calls):
    """Each take is sent at once, so there are as many calls as decisions."""

    async def scenario():
        async with warm(server.url, prefix) as limiter:
            calls()
            for _ in range(10):
                await limiter.take(POLICY, "key")

    asyncio.run(scenario())
    assert calls() == 10


def test_different_verbs_share_a_call_and_keep_their_order(server, prefix, calls):
    async def scenario():
        async with warm(server.url, prefix) as limiter:
            first = await limiter.take(POLICY, "key", 3)
            calls()
            return await asyncio.gather(
                limiter.take(POLICY, "key", 2),
                limiter.peek(POLICY, "key"),
                limiter.refund(POLICY, "key", 2, at=first.at),
                limiter.take(POLICY, "key", 4),
            )

    decisions = asyncio.run(scenario())
    assert [decision.limits[0].used for decision in decisions] == [5, 5, 3, 7]
    assert calls() == 1


def test_a_caller_that_is_cancelled_before_it_is_sent_is_not_charged(relay, prefix, count):
    async def scenario():
        async with warm(relay.url, prefix) as limiter:
            released = relay.hold()
            flying = [await in_flight(relay, limiter.take(POLICY, "first")) for _ in range(2)]
            waiting = [asyncio.ensure_future(limiter.take(POLICY, "key")) for _ in range(5)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            waiting[3].cancel()
            released.set()
            return await asyncio.gather(*flying, *waiting, return_exceptions=True)

    _, _, *answers = asyncio.run(scenario())
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [True, False, False, True, False]
    assert [answer.limits[0].used for answer in answers if not isinstance(answer, asyncio.CancelledError)] == [1, 2, 3]
    assert count() == 3


def test_cancelling_a_caller_in_flight_has_no_effect_on_the_others(relay, prefix):
    async def scenario():
        async with warm(relay.url, prefix) as limiter:
            released = relay.hold()
            flying = [asyncio.ensure_future(limiter.take(POLICY, f"key-{n}", n)) for n in range(1, 6)]
            last = await in_flight(relay, limiter.take(POLICY, "key-6", 6))
            flying[2].cancel()
            later = asyncio.ensure_future(limiter.take(POLICY, "later", 7))
            await asyncio.sleep(0)
            released.set()
            answers = await asyncio.gather(*flying, last, later, return_exceptions=True)
            return [getattr(answer, "limits", None) and answer.limits[0].used for answer in answers]

    assert asyncio.run(scenario()) == [1, 2, None, 4, 5, 6, 7]


def test_a_call_whose_callers_are_all_cancelled_does_not_delay_others(relay, prefix):
    """Its reply never arrives, and another caller is served on the other connection."""

    async def scenario():
        async with warm(relay.url, prefix) as limiter:
            relay.answer = lost
            flying = await in_flight(relay, limiter.take(POLICY, "key", deadline=0.3))
            flying.cancel()
            waiting = asyncio.ensure_future(limiter.take(POLICY, "key"))
            relay.answer = whole
            return await waiting

    assert asyncio.run(scenario()).allowed


def test_each_caller_has_its_own_deadline(relay, prefix):
    async def scenario():
        async with warm(relay.url, prefix) as limiter:
            released = relay.hold()
            flying = [asyncio.ensure_future(limiter.take(POLICY, "key", deadline=deadline)) for deadline in (10, 0.05, 10)]
            with pytest.raises(BackendTimeout):
                await flying[1]
            assert not flying[0].done()
            assert not flying[2].done()
            released.set()
            return [(await flying[n]).limits[0].used for n in (0, 2)]

    assert asyncio.run(scenario()) == [1, 3]


def test_a_caller_that_times_out_before_it_is_sent_is_not_charged(relay, prefix, count):
    async def scenario():
        async with warm(relay.url, prefix) as limiter:
            released = relay.hold()
            flying = [await in_flight(relay, limiter.take(POLICY, "first")) for _ in range(2)]
            with pytest.raises(BackendTimeout):
                await limiter.take(POLICY, "key", deadline=0.05)
            released.set()
            await asyncio.gather(*flying)

    asyncio.run(scenario())
    assert count() == 0


def test_when_redis_hangs_every_caller_times_out_however_close_their_deadlines(relay, prefix):
    """Deadlines 50 us apart expire while the call is being abandoned."""

    async def scenario():
        async with warm(relay.url, prefix) as limiter:
            relay.answer = lost
            flying = await in_flight(relay, limiter.take(POLICY, "key", deadline=0.05))
            others = [limiter.take(POLICY, "key", deadline=0.04 + n / 20_000) for n in range(100)]
            async with asyncio.timeout(20):
                return await asyncio.gather(flying, *others, return_exceptions=True)

    answers = asyncio.run(scenario())
    assert {type(answer) for answer in answers} == {BackendTimeout}
    assert len(set(map(id, answers))) == 101


def test_closing_fails_the_callers_that_still_wait(relay, prefix):
    async def scenario():
        async with warm(relay.url, prefix) as limiter:
            relay.answer = lost
            flying = await in_flight(relay, limiter.take(POLICY, "key"))
            waiting = [asyncio.ensure_future(limiter.take(POLICY, "key")) for _ in range(3)]
            await asyncio.sleep(0)
            await limiter.close()
            async with asyncio.timeout(5):
                return await asyncio.gather(flying, *waiting, return_exceptions=True)

    answers = asyncio.run(scenario())
    assert [(type(answer), str(answer)) for answer in answers] == [(BackendError, "the limiter was closed")] * 4


def test_a_closed_limiter_can_be_used_again(server, prefix):
    async def scenario():
        limiter = AsyncLimiter(server.url, prefix=prefix, deadline=10)
        await limiter.close()
        first = await limiter.take(POLICY, "key")
        await limiter.close()
        await limiter.close()
        second = await limiter.take(POLICY, "key")
        await limiter.close()
        return [first.limits[0].used, second.limits[0].used]

    assert asyncio.run(scenario()) == [1, 2]


def test_closing_ends_all_connections(server, prefix):
    with server.client() as client:
        before = client.info("clients")["connected_clients"]

        async def scenario():
            async with warm(server.url, prefix):
                assert client.info("clients")["connected_clients"] == before + 1

        asyncio.run(scenario())
        eventually(lambda: client.info("clients")["connected_clients"] == before, "the connections to close")


@examples(25)
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans(), st.integers(0, 2)), min_size=1, max_size=60))
def test_whichever_callers_are_cancelled_the_others_get_their_own_decisions(server, callers):
    """Callers arrive in random bunches; some are cancelled one or two loop iterations later: waiting, in flight, or done."""
    account = a_subject()

    async def caller(limiter, number, cost, turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        return await limiter.take(POLICY, f"key-{number}", cost, account=account)

    async def scenario():
        async with AsyncLimiter(server.url, deadline=10) as limiter:
            tasks = [asyncio.ensure_future(caller(limiter, number, cost, turns)) for number, (cost, _, turns) in enumerate(callers)]
            for turn, (task, (_, leaves, turns)) in enumerate(zip(tasks, callers, strict=True)):
                if turn % 7 == 0:
                    await asyncio.sleep(0.001 * turns)
                if leaves:
                    task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            counted = [(await limiter.inspect(POLICY, f"key-{number}", account=account))[0].used for number in range(len(callers))]
            return answers, counted

    answers, counted = asyncio.run(scenario())
    for (cost, leaves, _), answer, used in zip(callers, answers, counted, strict=True):
        if isinstance(answer, asyncio.CancelledError):
            assert leaves
            assert used in (0, cost)
        else:
            assert (answer.limits[0].used, used) == (cost, cost)
