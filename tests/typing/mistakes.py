"""Wrong uses of the API: a type checker reports each line that ends in `# error`, and no other."""

import asyncio

from limiter import AsyncLimiter, Charge, Limiter, Policy, SlidingWindow, Subject

policy = Policy("standard", [SlidingWindow(100, 60)])
Policy("standard", [SlidingWindow(100, 60)], failure="maybe")  # error
Policy("standard", [100])  # error
Subject("key-1")  # error
Charge("standard", "key-1")  # error
Charge(policy, 5)  # error

limiter = Limiter("redis://localhost")
limiter.take("standard", 5)  # error
limiter.take(policy, "key-1", "2")  # error
limiter.take(policy, "key-1", accounts="acme")  # error
limiter.wait(policy, "key-1")  # error
limiter.take_many([policy])  # error
limiter.refund("key-1")  # error
limiter.refund(policy, "key-1", at="now")  # error
str(limiter.take(policy, "key-1").retry_after + 1)  # error


@limiter.limited(policy, 5)  # error
def work(times: int) -> int:
    return times


@limiter.limited(policy, "global")
def limited(times: int) -> int:
    return times


limited("5")  # error


async def main() -> None:
    async with AsyncLimiter("redis://localhost") as limiter:
        str(limiter.take(policy, "key-1").allowed)  # error
        str(asyncio.create_task(limiter.take))  # error
        limiter.limited(policy, "global")(len)  # error
