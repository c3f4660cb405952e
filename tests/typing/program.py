"""A user's program over the whole public API, for type checkers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, assert_type

import redis
import redis.asyncio

from limiter import (
    AsyncLimiter,
    BackendError,
    BackendTimeout,
    Charge,
    Decision,
    IdempotencyConflict,
    InvalidPolicy,
    Limit,
    Limiter,
    LimiterError,
    LimitExceeded,
    LimitState,
    Policy,
    Quota,
    SlidingWindow,
    Subject,
    TokenBucket,
    current_decision,
    parse_limit,
)

limits: list[Limit | str] = [
    SlidingWindow(100, 60),
    SlidingWindow.per_hour(1000),
    TokenBucket(capacity=50, refill=1200, per="minute"),
    Quota.monthly(1_000_000, timezone="America/New_York", anchor=31),
    parse_limit("100/minute"),
    "10/second",
]
policy = Policy("standard", limits, failure="open")
daily = Policy("daily", ["1000/day"])
key = Subject("key-1", account="acme")
charges = [Charge(policy, key), Charge(daily, "acme", cost=2, account="acme")]
assert_type(charges[0].subject, str)
assert_type(charges[0].account, str | None)


def read(decision: Decision) -> dict[str, str]:
    assert_type(decision.allowed, bool)
    assert_type(decision.charges, tuple[Charge, ...])
    assert_type(decision.limits, tuple[LimitState, ...])
    assert_type(decision.binding, LimitState | None)
    assert_type(decision.remaining, int | None)
    assert_type(decision.retry_after, float | None)
    assert_type(decision.reset_after, float | None)
    assert_type(decision.reason, str)
    assert_type(decision.degraded, str)
    assert_type((decision.at, decision.charged), tuple[float, bool])
    for state in decision.limits:
        assert_type(state.limit, Limit)
        assert_type(state.charge, Charge)
        assert_type((state.capacity, state.used, state.remaining), tuple[int, int, int])
        assert_type((state.name, state.blocks), tuple[str, bool])
        assert_type((state.retry_after, state.reset_after), tuple[float | None, float])
    return decision.headers() or decision.headers("epoch")


with Limiter(redis.Redis(), prefix="lim", deadline=0.05) as limiter:
    assert_type(limiter, Limiter)
    assert_type(limiter.take(policy, "key-1"), Decision)
    assert_type(limiter.take(policy, key, 2, deadline=1), Decision)
    assert_type(limiter.take(policy, key, deadline=1, idempotency_key="a"), Decision)
    assert_type(limiter.take(charges, account="acme"), Decision)
    assert_type(limiter.take(charges[0]), Decision)
    assert_type(limiter.take(charge for charge in charges), Decision)
    assert_type(limiter.peek(policy, key), Decision)
    assert_type(limiter.refund(limiter.take(policy, key), idempotency_key="a"), Decision)
    assert_type(limiter.refund(limiter.take(charges, account="acme"), cost=1), Decision)
    assert_type(limiter.refund(policy, key, 2, at=limiter.take(policy, key).at), Decision)
    assert_type(limiter.refund(charges, at=1.5, account="acme"), Decision)
    assert_type(limiter.take_many([charges[0], charges]), list[Decision])
    assert_type(limiter.inspect(policy, key), tuple[LimitState, ...])
    assert_type(limiter.wait(policy, key, timeout=5), Decision)
    assert_type(limiter.enforce(policy, key), Decision)
    limiter.reset(policy, key)
    try:
        limiter.enforce(policy, "key-1", account="acme")
    except LimitExceeded as error:
        read(error.decision)
    except (BackendTimeout, BackendError, IdempotencyConflict, InvalidPolicy, LimiterError) as error:
        assert_type(str(error), str)


class User:
    name = "ada"

    @limiter.limited(policy, lambda self: self.name)
    def work(self, times: int) -> bytes:
        return b"" * times


@limiter.limited(policy, "global")
def everyone(times: int, *, loud: bool = False) -> str:
    assert_type(current_decision(), Decision)
    return str(times) * loud


@limiter.limited(policy, lambda user: Subject(user.name, account="acme"), cost=lambda user: len(user.name), account=lambda _: "acme")
def of_user(user: User) -> Iterator[int]:
    yield len(user.name)


assert_type(everyone(5, loud=True), str)
assert_type(of_user(User()), Iterator[int])
assert_type(User().work(5), bytes)


async def main() -> None:
    async with AsyncLimiter(redis.asyncio.Redis(), prefix="lim", deadline=0.05) as limiter:
        assert_type(limiter, AsyncLimiter)
        taking: Coroutine[Any, Any, Decision] = limiter.take(policy, "key-1")
        assert_type(await taking, Decision)
        assert_type(await limiter.take(policy, key, 2, deadline=1), Decision)
        assert_type(await limiter.take(charges, account="acme"), Decision)
        assert_type(await limiter.peek(policy, key), Decision)
        assert_type(await limiter.refund(await limiter.take(policy, key)), Decision)
        assert_type(await limiter.take_many([charges[0], charges]), list[Decision])
        assert_type(await limiter.inspect(policy, key), tuple[LimitState, ...])
        assert_type(await limiter.wait(policy, key, timeout=5), Decision)
        assert_type(await limiter.enforce(policy, key), Decision)
        await limiter.reset(policy, key)
        assert_type(await asyncio.create_task(limiter.take(policy, key)), Decision)
        async with asyncio.TaskGroup() as group:
            assert_type(group.create_task(limiter.take(policy, key)), asyncio.Task[Decision])
            assert_type(group.create_task(limiter.inspect(policy, key)), asyncio.Task[tuple[LimitState, ...]])
            group.create_task(limiter.reset(policy, key))
        assert_type(await asyncio.gather(*(limiter.take(policy, f"key-{n}") for n in range(3))), list[Decision])

        @limiter.limited(policy, "global", account="acme")
        async def everyone(times: int, *, loud: bool = False) -> str:
            assert_type(current_decision(), Decision)
            return str(times) * loud

        subject_of: Callable[[User], str] = lambda user: user.name  # noqa: E731 - annotated, as a program may have it

        @limiter.limited(policy, subject_of, cost=lambda user: len(user.name))
        async def of_user(user: User) -> AsyncIterator[int]:
            yield len(user.name)

        assert_type(await everyone(5, loud=True), str)
        assert_type([item async for item in of_user(User())], list[int])


asyncio.run(main())
