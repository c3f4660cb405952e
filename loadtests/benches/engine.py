"""The library compared with bare Redis and other limiters, on one private Redis, in interleaved rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import redis

from benches import peers, peers_async
from benches.callers import Turns
from benches.private_redis import private_redis
from benches.redis_cpu import RedisCpu
from benches.rounds import Competitor, Effort, Measured, batches, interleave
from benches.tables import Report, Table, Target
from benches.traffic import BATCH, CALLERS, INCR, PATIENT, POLICY, SUBJECTS, read
from limiter import AsyncLimiter, Charge, Decision, Limiter

OURS = "minute, hour, burst"
GIVES = "verdict; remaining and reset of each"

COLUMNS = ["way", "decisions/s", "x floor", "middle half", "own CPU us", "Redis CPU us", "limits", "gives", "round trips"]
NOTE = (
    "`x floor`: the median, over the rounds, of the ratio to the floor in the same round. CPU: microseconds per decision, in this process "
    "and in Redis."
)


def bench(*, short: bool) -> Report:
    effort = Effort(0.05, 3) if short else Effort(0.2, 25)
    with private_redis() as url:
        sync = _sync(url, effort)
        asynchronous = _async(url, effort)
    tables = [_table("Sync, one caller", sync), _table(f"asyncio, {CALLERS} callers", asynchronous)]
    targets = [
        Target("sync: take, of the floor", sync[1].ratio(sync[0]), 0.85),
        Target(f"asyncio: take with {CALLERS} callers, of the floor", asynchronous[1].ratio(asynchronous[0]), 6),
    ]
    summary = [_summary("Library, sync", sync), _summary(f"Library, asyncio, {CALLERS} callers", asynchronous)]
    return Report("The library", tables, targets, NOTE, summary)


def _sync(url: str, effort: Effort) -> list[Measured]:
    client = redis.Redis.from_url(url)
    sha = client.script_load(INCR)
    with Limiter(url, deadline=PATIENT) as limiter:
        competitors = [
            Competitor(
                "floor: redis-py, EVALSHA of one INCR", _one_by_one(lambda subject: client.evalsha(sha, 1, subject)), "none", "a count"
            ),
            Competitor("**limiter**, take", _one_by_one(lambda subject: read(limiter.take(POLICY, subject))), OURS, GIVES),
            Competitor(
                "limiter, take and headers()", _one_by_one(lambda subject: limiter.take(POLICY, subject).headers()), OURS, "all headers"
            ),
            Competitor(f"limiter, take_many in {BATCH}s", _inbatches(limiter.take_many), OURS, GIVES, 1 / BATCH),
            *peers.competitors(url),
        ]
        return interleave(competitors, SUBJECTS, effort, RedisCpu(url))


def _one_by_one(take: Callable[[str], object]) -> Callable[[Sequence[str]], None]:
    def turn(subjects: Sequence[str]) -> None:
        for subject in subjects:
            take(subject)

    return turn


def _inbatches(take_many: Callable[[list[Charge]], Sequence[Decision]]) -> Callable[[Sequence[str]], None]:
    def turn(subjects: Sequence[str]) -> None:
        for batch in batches(subjects):
            for decision in take_many([Charge(POLICY, subject) for subject in batch]):
                read(decision)

    return turn


def _async(url: str, effort: Effort) -> list[Measured]:
    with asyncio.Runner() as runner:
        turns = Turns(runner)
        competitors, close = runner.run(_async_competitors(url, turns))
        measured = interleave(competitors, SUBJECTS, effort, RedisCpu(url))
        runner.run(close())
        return measured


async def _async_competitors(url: str, turns: Turns) -> tuple[list[Competitor], Callable[[], object]]:
    client, limiter = peers_async.pooled(url), AsyncLimiter(url, deadline=PATIENT)
    sha = await client.script_load(INCR)

    async def take(subject: str) -> None:
        read(await limiter.take(POLICY, subject))

    async def take_with_headers(subject: str) -> None:
        (await limiter.take(POLICY, subject)).headers()

    async def take_many(subjects: Sequence[str]) -> None:
        for batch in batches(subjects):
            for decision in await limiter.take_many([Charge(POLICY, subject) for subject in batch]):
                read(decision)

    return [
        Competitor("floor: redis-py, EVALSHA of one INCR", turns.of(lambda subject: client.evalsha(sha, 1, subject)), "none", "a count"),
        Competitor("**limiter**, take", turns.of(take), OURS, GIVES, 1 / CALLERS),
        Competitor("limiter, take and headers()", turns.of(take_with_headers), OURS, "all headers", 1 / CALLERS),
        Competitor(f"limiter, take_many in {BATCH}s, one caller", turns.whole(take_many), OURS, GIVES, 1 / BATCH),
        *await peers_async.competitors(url, turns),
    ], limiter.close


def _table(title: str, measured: Sequence[Measured]) -> Table:
    return Table(title, COLUMNS, [_row(each, measured[0]) for each in measured])


def _row(each: Measured, floor: Measured) -> list[str]:
    competitor = each.competitor
    trips = f"{competitor.trips:g}" if competitor.trips >= 1 else f"1 for {1 / competitor.trips:g}"
    own, in_redis = (f"{min(values):.1f}" for values in (each.own_us, each.redis_us))
    ratio, spread = f"{each.ratio(floor):.2f}", each.spread(floor)
    return [competitor.name, f"{each.rate:,.0f}", ratio, spread, own, in_redis, competitor.limits, competitor.gives, trips]


def _summary(title: str, measured: Sequence[Measured]) -> Table:
    floor = measured[0]
    rows = [[each.competitor.name, f"{each.rate:,.0f}", f"{each.ratio(floor):.2f}", each.competitor.limits] for each in measured]
    return Table(title, ["way", "decisions/s", "x bare EVALSHA", "limits"], rows)
