"""Other limiters, sync: each returns a verdict and the numbers for headers in its cheapest way, with limits as close to ours as it has."""

from __future__ import annotations

from collections.abc import Callable

import pyrate_limiter as pyrate
import redis
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
from pyrate_limiter.buckets.redis_bucket import LuaScript, RedisBucket
from throttled import RedisStore, Throttled, per_hour, per_min

from benches.rounds import Competitor
from benches.traffic import HOUR, MINUTE, REFILL, SECOND

WINDOWS = "minute, hour, second"
EACH = "verdict; remaining and reset of each"
VERDICT = "verdict"

ITEMS: list[RateLimitItem] = [RateLimitItemPerMinute(MINUTE), RateLimitItemPerHour(HOUR), RateLimitItemPerSecond(SECOND)]
RATES = [pyrate.Rate(SECOND, pyrate.Duration.SECOND), pyrate.Rate(MINUTE, pyrate.Duration.MINUTE), pyrate.Rate(HOUR, pyrate.Duration.HOUR)]


def competitors(url: str) -> list[Competitor]:
    # Separate prefixes: the strategies store different types under the same names.
    moving = MovingWindowRateLimiter(storage_from_string(url, key_prefix="moving"))
    fixed = FixedWindowRateLimiter(storage_from_string(url, key_prefix="fixed"))
    return [
        _each("limits, moving windows", _limits(moving), WINDOWS, EACH, trips=6),
        _each("limits, moving windows, no numbers", _limits(moving, numbers=False), WINDOWS, VERDICT, trips=3),
        _each("limits, fixed windows", _limits(fixed), f"{WINDOWS} (fixed)", EACH, trips=9),
        _each("throttled-py, sliding windows and GCRA", _throttled(url), "minute, hour (two cells), burst", EACH, trips=3),
        _each("throttled-py, GCRA alone", _throttled_burst(url), "burst alone", EACH, trips=1),
        _each("pyrate-limiter", _pyrate(redis.Redis.from_url(url)), WINDOWS, VERDICT, trips=1),
    ]


def _each(name: str, take: Callable[[str], object], limits: str, gives: str, trips: float) -> Competitor:
    def turn(subjects: list[str]) -> None:
        for subject in subjects:
            take(subject)

    return Competitor(name, turn, limits, gives, trips)


def _limits(strategy: MovingWindowRateLimiter | FixedWindowRateLimiter, *, numbers: bool = True) -> Callable[[str], object]:
    def hit(subject: str) -> bool:
        # One after the other, as the library cannot charge all or none.
        return all(strategy.hit(item, subject) for item in ITEMS)

    def take(subject: str) -> object:
        return hit(subject), [strategy.get_window_stats(item, subject) for item in ITEMS]

    return take if numbers else hit


def _throttled(url: str) -> Callable[[str], object]:
    store = RedisStore(url)
    parts = [
        Throttled(using="sliding_window", quota=per_min(MINUTE), store=store, key_prefix="minute"),
        Throttled(using="sliding_window", quota=per_hour(HOUR), store=store, key_prefix="hour"),
        Throttled(using="gcra", quota=per_min(REFILL, burst=SECOND), store=store),
    ]

    def take(subject: str) -> object:
        results = [part.limit(subject) for part in parts]
        return any(result.limited for result in results), [(result.state.remaining, result.state.reset_after) for result in results]

    return take


def _throttled_burst(url: str) -> Callable[[str], object]:
    limiter = Throttled(using="gcra", quota=per_min(REFILL, burst=SECOND), store=RedisStore(url), key_prefix="alone")

    def take(subject: str) -> object:
        result = limiter.limit(subject)
        return result.limited, result.state.remaining, result.state.reset_after

    return take


def _pyrate(client: redis.Redis) -> Callable[[str], object]:
    limiter = pyrate.Limiter(Buckets(client, client.script_load(LuaScript.PUT_ITEM)))
    return lambda subject: limiter.try_acquire(subject, blocking=False)


class Buckets(pyrate.BucketFactory):
    """A bucket for each subject, created on first use. None is scheduled to leak, which is cheapest."""

    def __init__(self, client: redis.Redis | redis.asyncio.Redis, script: str) -> None:
        self._client, self._script = client, script
        self._buckets: dict[str, RedisBucket] = {}

    def wrap_item(self, name: str, weight: int = 1) -> pyrate.RateItem:
        return pyrate.RateItem(name, self.get_named(name).now(), weight=weight)

    def get(self, item: pyrate.RateItem) -> RedisBucket:
        return self.get_named(item.name)

    def get_named(self, name: str) -> RedisBucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = RedisBucket(RATES, self._client, f"pyrate:{name}", self._script)
        return bucket
