"""Overload is not an outage: a deadline measures Redis, and neither our queue nor a blocked event loop."""

import asyncio
import time

import pytest

from limiter import AsyncLimiter, Policy
from limiter.errors import BackendTimeout
from support.waiting import eventually

OPEN = Policy("open", ["5/minute"], failure="open")
STRICT = Policy("strict", ["1000000/minute"])


def block(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


@pytest.mark.parametrize("when", ["before the call is sent", "while Redis answers"])
def test_a_blocked_loop_is_not_a_silent_redis(server, prefix, when):
    async def takes():
        async with AsyncLimiter(server.url, prefix=prefix) as limiter:
            await limiter.peek(STRICT, "warm-up")
            taking = asyncio.ensure_future(limiter.take(STRICT, "key"))
            for _ in range(0 if when == "before the call is sent" else 2):
                await asyncio.sleep(0)
            block(0.2)
            return await taking

    decision = asyncio.run(takes())
    assert (decision.allowed, decision.degraded) == (True, "")


def test_a_limit_holds_while_callbacks_keep_blocking_the_loop(server, prefix):
    async def takes():
        async with AsyncLimiter(server.url, prefix=prefix) as limiter:

            async def blocking():
                for _ in range(5):
                    block(0.1)
                    await asyncio.sleep(0)

            decisions, _ = await asyncio.gather(asyncio.gather(*(limiter.take(OPEN, "key") for _ in range(500))), blocking())
            return decisions

    decisions = asyncio.run(takes())
    assert [decision.degraded for decision in decisions if decision.degraded] == []
    assert sum(decision.allowed for decision in decisions) == 5


def test_more_takes_than_the_loop_can_make_within_a_deadline_are_all_decided(server, prefix):
    async def takes():
        async with AsyncLimiter(server.url, prefix=prefix) as limiter:
            return await asyncio.gather(*(limiter.take(STRICT, f"key-{n % 100}") for n in range(20_000)))

    assert all(decision.allowed for decision in asyncio.run(takes()))


def test_a_silent_redis_still_ends_every_call_within_its_deadline(relay, prefix):
    """Callers come while the first calls hang: each is given up about 50 ms after it came, not after those before it."""

    async def takes():
        async with AsyncLimiter(relay.url, prefix=prefix) as limiter:
            await limiter.peek(STRICT, "warm-up")
            held = relay.hold()
            waited = []

            async def one(n):
                await asyncio.sleep(n / 500)
                began = asyncio.get_running_loop().time()
                with pytest.raises(BackendTimeout):
                    await limiter.take(STRICT, f"key-{n}")
                waited.append(asyncio.get_running_loop().time() - began)

            await asyncio.gather(*(one(n) for n in range(100)))
            held.set()
            return waited

    waited = sorted(asyncio.run(takes()))
    assert waited[0] > 0.045
    assert waited[94] < 0.5


def test_a_caller_that_asks_again_when_it_is_given_up_gets_an_answer_too(relay, prefix):
    """A connection with pipelined requests does so: the next request begins while the callers of a silent Redis are given up.

    Both calls are in flight, so these callers wait: the queue grows while those that stand in it are given up.
    """

    async def answers():
        async with AsyncLimiter(relay.url, prefix=prefix, deadline=10) as limiter:
            await limiter.connect()
            await limiter.peek(STRICT, "warm-up")
            held, begun = relay.hold(), len(relay.sent)
            flying = []
            for number in (1, 2):
                flying.append(asyncio.ensure_future(limiter.take(STRICT, "in-flight")))
                await asyncio.to_thread(eventually, lambda number=number: relay.sent[begun:].count(b"EVALSHA") == number, "a call")
            group, over, given_up = limiter._group(STRICT, "key", 1, None), asyncio.Event(), []  # noqa: SLF001

            class Again:
                is_done = False

                def done(self):
                    return self.is_done

                def set_result(self, verdict):
                    raise AssertionError(verdict)

                def set_exception(self, error):
                    self.is_done = True
                    given_up.append(error)
                    if len(given_up) <= 20:
                        limiter.verdict_to(Again(), group, 0.05)
                    elif len(given_up) == 40:
                        over.set()

            for _ in range(20):
                limiter.verdict_to(Again(), group, 0.05)
            await asyncio.wait_for(over.wait(), 5)
            held.set()
            return given_up, await asyncio.gather(*flying)

    given_up, decisions = asyncio.run(answers())
    assert [type(error) for error in given_up] == [BackendTimeout] * 40
    assert [decision.limits[0].used for decision in decisions] == [1, 2]
