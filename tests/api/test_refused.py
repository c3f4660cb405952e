"""Refused requests are limited, cost a bounded amount, and never rest on memory alone."""

import asyncio
import gc
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from limiter import Policy
from limiter.api.config.loader import loads
from limiter.api.registry import KeyFormat
from support.clock import HOUR, SECOND
from support.edge import Edge
from support.registry import world_of
from support.servers.redis_server import redis_server

FILE = """
policies:
  standard: { limits: [50/minute] }
  attempts: { limits: [4/minute] }
tiers: { standard: { key: standard } }
credentials: { environments: [live] }
identify: { guard: attempts }
redis: { deadline: 5s }
routes:
  - { path: /write, scope: "files:write" }
"""
RULES = loads(FILE)
# Most of one batch.
BATCH = 128


@asynccontextmanager
async def edges(world, number=1, rules=RULES):
    opened = [Edge(world, rules) for _ in range(number)]
    try:
        yield opened
    finally:
        for each in opened:
            await each.limiter.close()


def on_edges(world, story, number=1, rules=RULES):
    async def run():
        async with edges(world, number, rules) as opened:
            return await story(*opened)

    return world(run())


async def issued(world, **change):
    return await world.keys.issue("acme", **change)


async def revoked(world):
    new = await issued(world, scopes=["files:write"])
    await world.keys.revoke("acme", new.key.id)
    return new


async def expired(world):
    new = await issued(world, scopes=["files:write"])
    await world.keys.set("acme", new.key.id, lifetime=0)
    return new


async def suspended(world):
    new = await issued(world, scopes=["files:write"])
    await world.accounts.suspend("acme")
    return new


# How a key comes to be refused on /write from 203.0.113.1, and the reason.
REFUSED = {
    "revoked-key": revoked,
    "expired-key": expired,
    "account-suspended": suspended,
    "missing-scope": issued,
    "address-not-allowed": lambda world: issued(world, addresses=["198.51.100.0/24"], scopes=["files:write"]),
    "wrong-environment": lambda world: issued(world, environment="test", scopes=["files:write"]),
}


# --- Refused requests run into 429


@pytest.mark.parametrize("reason", REFUSED)
def test_a_loop_with_a_refused_key_runs_into_429_with_a_truthful_retry_after(world, clock, reason):
    async def story(edge):
        key = (await REFUSED[reason](world)).raw
        first = [await edge.ask(key, "/write") for _ in range(4)]
        assert {reply.problem["reason"] for reply in first} == {reason}
        (denied,) = {(await edge.ask(key, "/write")).status for _ in range(20)}
        assert denied == 429
        limited = await edge.ask(key, "/write")
        assert limited.problem["type"].endswith("#abnormal-usage-detected")
        assert limited.problem["violated-policies"] == ["attempts.minute", "attempts.minute.2"]
        # The second before, and the moment itself. An entry leaves late by up to 1/128 of the window, which Retry-After includes.
        clock.now_us += limited.retry_after * SECOND - 2 * SECOND
        assert (await edge.ask(key, "/write")).status == 429
        clock.now_us += 2 * SECOND
        assert (await edge.ask(key, "/write")).problem["reason"] == reason

    on_edges(world, story)


def test_attempts_are_shared_by_sidecars(world):
    async def story(one, other):
        key = (await revoked(world)).raw
        assert await one.ask_often(2, key) + await other.ask_often(4, key) == [401] * 4 + [429] * 2

    on_edges(world, story, 2)


def test_a_key_is_limited_across_addresses_and_an_address_across_keys_of_an_account(world):
    async def story(edge):
        key = (await revoked(world)).raw
        assert [(await edge.ask(key, address=f"198.51.100.{n}")).status for n in range(6)] == [401] * 4 + [429] * 2
        keys = [(await revoked(world)).raw for _ in range(6)]
        assert [(await edge.ask(each, address="192.0.2.7")).status for each in keys] == [401] * 4 + [429] * 2

    on_edges(world, story)


def test_without_a_configured_guard_100_a_minute_are_answered(world):
    rules = loads(FILE.replace("identify: { guard: attempts }", ""))

    async def story(edge):
        key = (await revoked(world)).raw
        assert Counter(await edge.ask_often(102, key)) == {401: 100, 429: 2}
        assert Counter(await edge.ask_often(102, "invented", address="192.0.2.7")) == {401: 100, 429: 2}

    on_edges(world, story, rules=rules)


def test_a_refused_request_shows_the_attempts_left_of_its_key_and_of_its_address(world):
    async def story(edge):
        valid, ended = (await issued(world)).raw, (await revoked(world)).raw
        replies = [await edge.ask(valid, "/write"), await edge.ask(ended), await edge.ask(ended)]
        assert [reply.status for reply in replies] == [403, 401, 401]
        shown = '"attempts.minute";r={};t=60, "attempts.minute.2";r={};t=60'
        assert [reply.headers["ratelimit"] for reply in replies] == [shown.format(*left) for left in ((3, 3), (3, 2), (2, 1))]
        assert [reply.headers["x-ratelimit-remaining"] for reply in replies] == ["3", "2", "1"]

    on_edges(world, story)


# --- Nobody else is limited by them


def test_misusing_a_key_uses_up_none_of_its_own_limits_and_does_not_lock_it_out(world):
    async def story(edge):
        key = (await issued(world)).raw
        assert await edge.ask_often(8, key, "/write") == [403] * 4 + [429] * 4
        reply = await edge.ask(key)
        assert (reply.status, reply.headers["x-ratelimit-remaining"]) == (200, "49")

    on_edges(world, story)


def test_a_guard_with_the_policy_of_the_keys_has_counts_of_its_own(world):
    rules = replace(RULES, guard=RULES.policies["standard"])

    async def story(edge):
        key = (await issued(world)).raw
        assert await edge.ask_often(52, key, "/write") == [403] * 50 + [429] * 2
        reply = await edge.ask(key)
        assert (reply.status, reply.headers["x-ratelimit-remaining"]) == (200, "49")

    on_edges(world, story, rules=rules)


def test_a_revoked_key_limits_nobody_else_at_its_address(world):
    """Many people may share the address."""

    async def story(edge):
        await world.accounts.create("other", tier="standard")
        of_other = await world.keys.issue("other")
        bad, good = (await revoked(world)).raw, (await issued(world)).raw
        assert (await edge.ask_often(9, bad))[-1] == 429
        assert (await edge.ask(good)).status == (await edge.ask(of_other.raw)).status == 200
        assert (await edge.ask(of_other.raw, "/write")).status == 403
        assert (await edge.ask("invented")).status == (await edge.ask("ff_live_malformed")).status == 401

    on_edges(world, story)


def test_a_valid_key_works_from_an_address_without_attempts_left_even_if_it_has_to_be_looked_up(world):
    async def story(edge):
        assert await edge.ask_often(6, "invented") == [401] * 4 + [429] * 2
        assert (await edge.ask((await issued(world)).raw)).status == 200

    on_edges(world, story)


# --- Refusals rest on memory only as long as they are true


REMEDIES = {
    "account-suspended": lambda world, _: world.accounts.activate("acme"),
    "expired-key": lambda world, key: world.keys.set("acme", key.id, lifetime=60),
    "missing-scope": lambda world, key: world.keys.set("acme", key.id, scopes=["files:write"]),
    "address-not-allowed": lambda world, key: world.keys.set("acme", key.id, addresses=[]),
}


@pytest.mark.parametrize("reason", REMEDIES)
def test_a_key_works_on_its_next_request_after_the_remedy_on_every_sidecar_even_while_it_gets_429(world, reason):
    async def story(*sidecars):
        new = await REFUSED[reason](world)
        for sidecar in sidecars:
            await sidecar.ask_often(6, new.raw, "/write")
            limited = await sidecar.ask(new.raw, "/write")
            assert limited.status == 429
        await REMEDIES[reason](world, new.key)
        for sidecar in sidecars:
            assert (await sidecar.ask(new.raw, "/write")).status == 200

    on_edges(world, story, 2)


def test_a_key_does_not_expire_before_redis_says_so(server, prefix):
    """Though this sidecar's estimate of Redis's clock is two hours ahead."""
    with world_of(server, prefix) as world:
        world(world.accounts.create("acme", tier="standard"))

        async def story(edge):
            key = (await issued(world, lifetime=3600)).raw
            assert (await edge.ask(key)).status == 200
            honest = edge.keys.now_us
            edge.keys.now_us = lambda: honest() + 2 * HOUR
            assert (await edge.ask(key)).status == 200

        on_edges(world, story)


def test_a_key_works_on_its_next_request_after_it_is_imported_though_it_was_tried_before(world):
    """Also while the address of the attempts gets 429."""

    async def story(*sidecars):
        raw = "sk-tried-before-it-was-imported"
        for sidecar in sidecars:
            await sidecar.ask_often(6, raw)
        await world.keys.adopt("acme", raw)
        for sidecar in sidecars:
            assert (await sidecar.ask(raw)).status == 200

    on_edges(world, story, 2)


def test_the_first_request_with_a_key_charges_no_attempt(world):
    """Though a key that is not in memory is presumed not to exist."""

    async def story(*sidecars):
        for sidecar in sidecars:
            for _ in range(6):
                assert (await sidecar.ask((await issued(world)).raw)).status == 200
        assert (await sidecars[0].ask("invented")).headers["x-ratelimit-remaining"] == "3"

    on_edges(world, story, 2)


def test_a_pointer_to_a_key_that_does_not_exist_is_an_attempt(world):
    """As an import leaves it behind that was interrupted."""

    async def story(edge):
        raw = (await issued(world)).raw
        await world.client.delete(world.registry.names.records("acme"))
        replies = [await edge.ask(raw) for _ in range(6)]
        assert [reply.status for reply in replies] == [401] * 4 + [429] * 2
        assert replies[0].headers["x-ratelimit-remaining"] == "3"

    on_edges(world, story)


@pytest.mark.parametrize("failure", ["open", "closed"])
def test_while_redis_hangs_a_key_that_is_not_in_memory_gets_503(failure):
    """It may be valid. In real time: 100 ms."""
    rules = replace(RULES, deadline=0.1, guard=Policy("attempts", ["4/minute"], failure=failure))
    with redis_server() as own, world_of(own, "lim") as world:
        world(world.accounts.create("acme", tier="standard"))

        async def story(edge):
            key = (await issued(world)).raw
            await edge.ask("warm-up")
            own.send(signal.SIGSTOP)
            reply = await edge.ask(key)
            own.send(signal.SIGCONT)
            assert (reply.status, reply.headers["x-ratelimit-degraded"]) == (503, "closed")

        on_edges(world, story, rules=rules)


@pytest.mark.parametrize(("failure", "status"), [("open", 401), ("closed", 503)])
def test_while_redis_hangs_a_remembered_refusal_follows_the_failure_mode_of_the_guard(failure, status):
    """In real time: 100 ms."""
    rules = replace(RULES, deadline=0.1, guard=Policy("attempts", ["4/minute"], failure=failure))
    with redis_server() as own, world_of(own, "lim") as world:
        world(world.accounts.create("acme", tier="standard"))

        async def story(edge):
            key = (await revoked(world)).raw
            await edge.ask(key)
            own.send(signal.SIGSTOP)
            reply = await edge.ask(key)
            own.send(signal.SIGCONT)
            assert (reply.status, reply.headers["x-ratelimit-degraded"]) == (status, failure)

        on_edges(world, story, rules=rules)


# --- Cost


async def commands(world):
    """Which commands Redis has carried out since the last call, and how often."""
    found = {name.removeprefix("cmdstat_"): each["calls"] for name, each in (await world.client.info("commandstats")).items()}
    await world.client.config_resetstat()
    return found


def test_a_refused_request_is_one_call_to_redis_and_needs_no_task(world):
    async def story(edge):
        key = (await revoked(world)).raw
        await edge.ask(key)
        await commands(world)
        received = [await edge.receive(key) for _ in range(30)]
        done = await commands(world)
        assert done["evalsha"] == 30
        assert not {"mget", "hmget", "multi", "hget"} & set(done)
        assert not any(receiver.ran_a_task for _, receiver in received)
        # Without attempts left, it writes nothing.
        assert done["setrange"] < 10

    on_edges(world, story)


def test_500_lookups_at_once_take_a_few_calls(world):
    async def story(edge):
        raws = [new.raw for new in await asyncio.gather(*(issued(world) for _ in range(50)))]
        invented = [KeyFormat("ff").generate() for _ in range(450)]
        await edge.ask("warm-up")
        await commands(world)
        await asyncio.gather(*(edge.ask(key) for key in raws + invented))
        done = await commands(world)
        batches = -(-500 // BATCH)
        # Only keys that exist are looked up.
        assert done["mget"] <= 3
        assert done["hmget"] == 50
        assert "multi" not in done
        # The scripts of the first decisions, of the lookups, and of the decisions about keys that exist.
        assert done["evalsha"] <= 3 * batches + 6


def test_an_invented_key_is_one_call_to_redis_and_needs_no_task(world):
    async def story(edge):
        await edge.ask("warm-up")
        await commands(world)
        received = [await edge.receive(KeyFormat("ff").generate(), address=f"192.0.2.{n}") for n in range(30)]
        done = await commands(world)
        assert {reply.status for reply, _ in received} == {401}
        assert done["evalsha"] == 30
        assert "mget" not in done
        assert not any(receiver.ran_a_task for _, receiver in received)

    on_edges(world, story)

    on_edges(world, story)


def test_equal_lookups_of_a_batch_are_read_once(world):
    async def story(edge):
        key = (await issued(world)).raw
        await commands(world)
        assert {(await reply).status for reply in [asyncio.ensure_future(edge.ask(key)) for _ in range(40)]} == {200}
        assert (await commands(world))["hmget"] <= 2

    on_edges(world, story)


@pytest.mark.parametrize("number", [200, 2000])
def test_invented_keys_at_once_starve_nobody(world, number):
    """Good keys that are in memory, and good keys that have to be looked up, get right answers."""

    async def story(edge):
        raws = [(await issued(world)).raw for _ in range(20)]
        for key in raws[:10]:
            await edge.ask(key)
        flood = [edge.ask(KeyFormat("ff").generate(), address="192.0.2.7") for _ in range(number)]
        good = [edge.ask(key) for key in raws]
        middle = number // 2
        replies = await asyncio.gather(*flood[:middle], *good, *flood[middle:])
        statuses = [reply.status for reply in replies]
        assert statuses[middle : middle + 20] == [200] * 20
        assert Counter(statuses[:middle] + statuses[middle + 20 :]) == {401: 4, 429: number - 4}

    on_edges(world, story)


def test_memory_does_not_grow_with_the_number_of_invented_keys(world):
    async def story(edge):
        async def flood(number):
            """The number of blocks of memory in use afterwards."""
            for _ in range(number // 200):
                await asyncio.gather(*(edge.ask(KeyFormat("ff").generate()) for _ in range(200)))
            gc.collect()
            return sys.getallocatedblocks()

        await flood(400)
        before = await flood(200)
        # A key that was remembered would take more than one block.
        assert await flood(1000) - before < 500

    on_edges(world, story)


def test_a_key_with_unreadable_records_fails_alone(world):
    async def story(edge):
        await world.accounts.create("broken", tier="standard")
        broken, good = await world.keys.issue("broken"), await issued(world)
        await world.client.set(world.registry.names.generation("broken"), "not a number")
        replies = await asyncio.gather(*(edge.ask(each.raw) for each in (broken, good, broken, good)))
        assert [reply.status for reply in replies] == [503, 200, 503, 200]

    on_edges(world, story)
