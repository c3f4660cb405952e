"""Other limiters under asyncio, as in `peers.py`, with a connection for every caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pyrate_limiter as pyrate
import redis.asyncio
import throttled.asyncio as throttled
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
from pyrate_limiter.buckets.redis_bucket import LuaScript

from benches.callers import Turns
from benches.peers import EACH, ITEMS, VERDICT, WINDOWS, Buckets
from benches.rounds import Competitor
from benches.traffic import CALLERS, HOUR, MINUTE, REFILL, SECOND

Take = Callable[[str], Awaitable[object]]


def pooled(url: str) -> redis.asyncio.Redis:
    """The fastest setup of redis-py: callers never wait for a connection or a lock."""
    return redis.asyncio.Redis(connection_pool=redis.asyncio.ConnectionPool.from_url(url, max_connections=CALLERS))


async def competitors(url: str, turns: Turns) -> list[Competitor]:
    moving, fixed = MovingWindowRateLimiter(_storage(url, "async-moving")), FixedWindowRateLimiter(_storage(url, "async-fixed"))
    client = pooled(url)
    acquire = _pyrate(client, await client.script_load(LuaScript.PUT_ITEM))
    return [
        Competitor("limits, moving windows", turns.of(_limits(moving)), WINDOWS, EACH, 6),
        Competitor("limits, fixed windows", turns.of(_limits(fixed)), f"{WINDOWS} (fixed)", EACH, 9),
        Competitor("throttled-py, sliding windows and GCRA", turns.of(_throttled(url)), "minute, hour (two cells), burst", EACH, 3),
        Competitor("pyrate-limiter", turns.of(acquire), WINDOWS, VERDICT, 1),
    ]


def _storage(url: str, prefix: str) -> RedisStorage:
    return RedisStorage(f"async+{url}", implementation="redispy", key_prefix=prefix, max_connections=CALLERS)


def _limits(strategy: MovingWindowRateLimiter | FixedWindowRateLimiter) -> Take:
    async def take(subject: str) -> object:
        verdicts = [await strategy.hit(item, subject) for item in ITEMS]
        return all(verdicts), [await strategy.get_window_stats(item, subject) for item in ITEMS]

    return take


def _throttled(url: str) -> Take:
    store = throttled.RedisStore(url, {"CONNECTION_POOL_KWARGS": {"max_connections": CALLERS}})
    parts = [
        throttled.Throttled(using="sliding_window", quota=throttled.per_min(MINUTE), store=store, key_prefix="async-minute"),
        throttled.Throttled(using="sliding_window", quota=throttled.per_hour(HOUR), store=store, key_prefix="async-hour"),
        throttled.Throttled(using="gcra", quota=throttled.per_min(REFILL, burst=SECOND), store=store, key_prefix="async"),
    ]

    async def take(subject: str) -> object:
        results = [await part.limit(subject) for part in parts]
        return any(result.limited for result in results), [(result.state.remaining, result.state.reset_after) for result in results]

    return take


def _pyrate(client: redis.asyncio.Redis, script: str) -> Take:
    limiter = pyrate.Limiter(Buckets(client, script))
    # `try_acquire_async` admits one caller at a time.
    return lambda subject: limiter.try_acquire(subject, blocking=False)
