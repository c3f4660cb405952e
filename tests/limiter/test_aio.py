"""AsyncLimiter only: event loops, tasks and cancellation."""

import asyncio

import pytest

from limiter import AsyncLimiter, Charge, LimiterError, LimitExceeded, Policy, SlidingWindow

POLICY = Policy("async", [SlidingWindow(5, 60)])


def test_a_second_event_loop_is_refused_while_the_first_is_open(server, prefix):
    limiter = AsyncLimiter(server.url, prefix=prefix, deadline=10)

    async def take():
        return await limiter.take(POLICY, "key")

    with asyncio.Runner() as one, asyncio.Runner() as other:
        assert one.run(take()).allowed
        with pytest.raises(LimiterError, match="serves one event loop"):
            other.run(take())
        one.run(limiter.close())
        assert other.run(take()).limits[0].used == 2
        other.run(limiter.close())


def test_a_limiter_serves_one_event_loop_after_another(server, prefix):
    limiter = AsyncLimiter(server.url, prefix=prefix, deadline=10)

    async def take():
        async with limiter:
            return (await limiter.take(POLICY, "key")).limits[0].used

    assert [asyncio.run(take()) for _ in range(3)] == [1, 2, 3]


def test_a_limiter_can_be_created_outside_an_event_loop(server, prefix):
    """A module may hold one in a global; only its calls need an event loop."""
    limiter = AsyncLimiter(server.url, prefix=prefix)
    with pytest.raises(RuntimeError, match="no running event loop"):
        limiter.take(POLICY, "key").send(None)


def test_every_verb_can_be_a_task(server, prefix):
    async def scenario():
        async with AsyncLimiter(server.url, prefix=prefix, deadline=10) as limiter:
            lone = asyncio.create_task(limiter.take(POLICY, "key"))
            async with asyncio.TaskGroup() as group:
                peek = group.create_task(limiter.peek(POLICY, "other", 5))
                refund = group.create_task(limiter.refund(POLICY, "other", at=1))
                many = group.create_task(limiter.take_many([Charge(POLICY, "other")]))
                states = group.create_task(limiter.inspect(POLICY, "other"))
                group.create_task(limiter.enforce(POLICY, "other"))
                group.create_task(limiter.wait(POLICY, "other", timeout=1))
                group.create_task(limiter.reset(POLICY, "third"))
            return [await lone, peek.result(), refund.result(), *many.result(), states.result()]

    *decisions, states = asyncio.run(scenario())
    assert all(decisions)
    assert states[0].capacity == 5


def test_a_verb_that_is_not_awaited_charges_nothing(server, prefix):
    async def scenario():
        async with AsyncLimiter(server.url, prefix=prefix, deadline=10) as limiter:
            limiter.take(POLICY, "key").close()
            return (await limiter.inspect(POLICY, "key"))[0].used

    assert asyncio.run(scenario()) == 0


def test_waiting_for_redis_does_not_block_the_event_loop(relay, prefix):
    async def scenario():
        async with AsyncLimiter(relay.url, prefix=prefix, deadline=10) as limiter:
            await limiter.take(POLICY, "key")
            released = relay.hold()
            taking = asyncio.ensure_future(limiter.take(POLICY, "key"))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not taking.done()
            released.set()
            assert (await taking).allowed

    asyncio.run(scenario())


def test_a_limited_coroutine_function_runs_while_there_is_room(server, prefix):
    async def scenario():
        async with AsyncLimiter(server.url, prefix=prefix, deadline=10) as limiter:

            @limiter.limited(POLICY, lambda user: user, cost=3)
            async def work(user):
                """Works."""
                await asyncio.sleep(0)
                return user

            assert work.__doc__ == "Works."
            assert await work("key") == "key"
            with pytest.raises(LimitExceeded):
                await work("key")

    asyncio.run(scenario())


def test_a_wait_can_be_cancelled(server, prefix):
    async def scenario():
        async with AsyncLimiter(server.url, prefix=prefix, deadline=10) as limiter:
            await limiter.take(POLICY, "key", 5)
            waiting = asyncio.ensure_future(limiter.wait(POLICY, "key", timeout=100))
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            return (await limiter.inspect(POLICY, "key"))[0].used

    assert asyncio.run(scenario()) == 5
