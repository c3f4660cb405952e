"""What a sidecar asks on every request: right on the very next one after any change, from memory, and on all sidecars."""

import asyncio
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limiter import AsyncLimiter, BackendError, BackendTimeout, Policy
from limiter.api.registry import Directory, Form, Identity, Refusal, Refused, Registry
from limiter.api.registry.identity import judge
from limiter.api.registry.registry import connected
from limiter.protocol.call import Stale
from limiter.protocol.group import grouped
from support.clock import DAY, HOUR, SECOND, Clock
from support.redis_server import redis_server
from support.registry import world_of

PLENTY = Policy("plenty", ["1000000/minute"])
NOBODY = "redis://127.0.0.1:1"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def world(server, prefix, clock):
    with world_of(server, prefix, clock=clock) as world:
        world(world.accounts.create("acme", tier="standard"))
        yield world


class Sidecar:
    """As the front goes about it: who is it, a take under their guard, and once more where that is out of date."""

    def __init__(self, world, directory=None) -> None:
        self._prefix, self.directory = world.prefix, directory or world.other_directory()
        self._limiter = AsyncLimiter(world.url, prefix=world.prefix, deadline=5, clock=world.registry.store.clock)
        self.stale = 0

    async def __call__(self, raw, **needs):
        """The identity that was let in, or the refusal."""
        while True:
            found = await self.directory.identify(raw, **needs)
            if isinstance(found, Refused):
                return found.refusal
            group = replace(grouped(self._prefix, PLENTY, found.key.subject, 1, found.account.id), guard=found.guard)
            if await self._limiter.verdict(group) is not Stale.GENERATION:
                return found
            self.stale += 1
            self.directory.forget(found)

    async def close(self):
        await self._limiter.close()


@asynccontextmanager
async def sidecars(world, number=1):
    started = [Sidecar(world) for _ in range(number)]
    try:
        yield started
    finally:
        for sidecar in started:
            await sidecar.close()


def on_sidecars(world, story, number=1):
    async def told():
        async with sidecars(world, number) as started:
            return await story(*started)

    return world(told())


# --- Effective on the very next request


CHANGES = {
    "revoke": lambda world, key: world.keys.revoke("acme", key.id),
    "rotate": lambda world, key: world.keys.rotate("acme", key.id),
    "suspend": lambda world, _: world.accounts.suspend("acme"),
    "expire": lambda world, key: world.keys.set("acme", key.id, lifetime=0),
    "narrow": lambda world, key: world.keys.set("acme", key.id, scopes=[]),
    "move": lambda world, key: world.keys.set("acme", key.id, addresses=["198.51.100.0/24"]),
    "delete": lambda world, _: world.accounts.delete("acme", with_keys=True),
}
REFUSALS = {
    "revoke": Refusal.REVOKED,
    "rotate": Refusal.REVOKED,
    "suspend": Refusal.SUSPENDED,
    "expire": Refusal.EXPIRED,
    "narrow": Refusal.SCOPE,
    "move": Refusal.ADDRESS,
    "delete": Refusal.UNKNOWN,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_effective_on_the_next_request_of_every_sidecar(world, change):
    new = world(world.keys.issue("acme", scopes=["asset:read"], addresses=["203.0.113.0/24"]))
    needs = {"scope": "asset:read", "address": "::ffff:203.0.113.9"}

    async def story(*sidecars):
        for sidecar in sidecars:
            assert isinstance(await sidecar(new.raw, **needs), Identity)
            assert sidecar.directory.recall(new.raw, **needs)
        await CHANGES[change](world, new.key)
        for sidecar in sidecars:
            assert await sidecar(new.raw, **needs) is REFUSALS[change]
            assert sidecar.directory.recall(new.raw, **needs) is None

    on_sidecars(world, story, 3)


@pytest.mark.parametrize(
    ("refused", "remedy"),
    [
        (lambda world, _: world.accounts.suspend("acme"), lambda world, _: world.accounts.activate("acme")),
        (CHANGES["expire"], lambda world, key: world.keys.set("acme", key.id, lifetime=60)),
        (CHANGES["narrow"], lambda world, key: world.keys.set("acme", key.id, scopes=["asset:read"])),
        (CHANGES["move"], lambda world, key: world.keys.set("acme", key.id, addresses=[])),
    ],
)
def test_a_refusal_ends_with_its_reason_on_the_next_request(world, refused, remedy):
    new = world(world.keys.issue("acme", scopes=["asset:read"]))
    needs = {"scope": "asset:read", "address": "203.0.113.9"}

    async def story(*sidecars):
        await refused(world, new.key)
        for sidecar in sidecars:
            assert isinstance(await sidecar(new.raw, **needs), Refusal)
        await remedy(world, new.key)
        for sidecar in sidecars:
            assert isinstance(await sidecar(new.raw, **needs), Identity)

    on_sidecars(world, story, 3)


def test_a_change_of_tier_is_seen_by_the_next_request(world):
    raw = world(world.keys.issue("acme")).raw

    async def story(*sidecars):
        for tier in ("pro", "free", "pro"):
            await world.accounts.set("acme", tier=tier)
            for sidecar in sidecars:
                assert (await sidecar(raw)).account.tier == tier

    on_sidecars(world, story, 3)


def test_an_unknown_key_that_becomes_known_works_at_once(world):
    raw = "sk-0123456789abcdef"

    async def story(sidecar):
        assert await sidecar(raw) is Refusal.UNKNOWN
        await world.keys.adopt("acme", raw)
        assert isinstance(await sidecar(raw), Identity)

    on_sidecars(world, story)


def test_an_account_deleted_and_made_again_does_not_revive_what_was_remembered(world, clock):
    raw = world(world.keys.issue("acme")).raw

    async def story(sidecar):
        assert isinstance(await sidecar(raw), Identity)
        await world.accounts.delete("acme", with_keys=True)
        await world.accounts.create("acme", tier="standard")
        assert await sidecar(raw) is Refusal.UNKNOWN
        clock.now_us -= HOUR
        assert await sidecar(raw) is Refusal.UNKNOWN

    on_sidecars(world, story)


def test_a_test_key_works_for_7_days_and_not_longer(world, clock):
    new = world(world.keys.issue("acme", "test"))

    async def story(sidecar):
        clock.now_us += 7 * DAY - 1
        assert isinstance(await sidecar(new.raw), Identity)
        clock.now_us += 1
        assert await sidecar(new.raw) is Refusal.EXPIRED

    on_sidecars(world, story)


def test_both_keys_of_a_rotation_work_for_the_overlap_and_then_the_new_one(world, clock):
    old = world(world.keys.issue("acme"))
    new = world(world.keys.rotate("acme", old.key.id, 72 * 3600))

    async def story(sidecar):
        clock.now_us += 72 * HOUR - 1
        assert (await sidecar(old.raw)).key.subject == (await sidecar(new.raw)).key.subject
        clock.now_us += 1
        assert await sidecar(old.raw) is Refusal.EXPIRED
        assert isinstance(await sidecar(new.raw), Identity)

    on_sidecars(world, story)


OPERATIONS = st.sampled_from(
    [
        lambda world, key: world.keys.revoke("acme", key.id),
        lambda world, _: world.accounts.suspend("acme"),
        lambda world, _: world.accounts.activate("acme"),
        lambda world, key: world.keys.set("acme", key.id, scopes=[]),
        lambda world, key: world.keys.set("acme", key.id, scopes=["asset:read"]),
        lambda world, key: world.keys.set("acme", key.id, lifetime=60),
        lambda world, key: world.keys.set("acme", key.id, lifetime=None),
        lambda world, key: world.keys.rotate("acme", key.id, 30),
        lambda world, _: world.keys.issue("acme"),
    ]
)


@settings(max_examples=40)
@given(steps=st.lists(st.tuples(OPERATIONS, st.integers(0, 20)), max_size=12))
def test_whatever_is_done_every_answer_is_that_of_the_record_as_it_stands(server, steps):
    clock = Clock()
    with world_of(server, f"t{time.monotonic_ns()}", clock=clock) as world:
        world(world.accounts.create("acme", tier="standard"))
        new = world(world.keys.issue("acme", scopes=["asset:read"]))

        async def story(*sidecars):
            for operation, passing in steps:
                clock.now_us += passing * SECOND
                await asyncio.gather(operation(world, new.key), return_exceptions=True)
                truth = await world.registry.look_up(new.key.digest)
                due = judge(truth, clock.now_us, "asset:read")
                for sidecar in sidecars:
                    answer = await sidecar(new.raw, scope="asset:read")
                    assert answer == (due or truth)

        on_sidecars(world, story, 2)


def test_no_request_that_starts_after_a_revocation_is_let_in(server, prefix):
    """Three busy sidecars, in real time, for half a second."""
    with world_of(server, prefix) as world:
        world(world.accounts.create("acme", tier="standard"))
        new = world(world.keys.issue("acme"))
        revoked_at = []

        async def caller(sidecar, until):
            admitted = []
            while time.monotonic() < until:
                started = time.monotonic()
                if isinstance(await sidecar(new.raw), Identity):
                    admitted.append(started)
            return admitted

        async def revoker(wait):
            await asyncio.sleep(wait)
            await world.keys.revoke("acme", new.key.id)
            revoked_at.append(time.monotonic())

        async def story(*sidecars):
            until = time.monotonic() + 0.5
            *admitted, _ = await asyncio.gather(*(caller(sidecar, until) for sidecar in sidecars * 4), revoker(0.25))
            return [started for each in admitted for started in each]

        admitted = on_sidecars(world, story, 3)
        assert len(admitted) > 50
        assert max(admitted) <= revoked_at[0]


# --- What it costs


def test_with_a_warm_memory_a_request_is_one_call_to_redis(world, server):
    raw = world(world.keys.issue("acme")).raw

    async def story(sidecar):
        await sidecar(raw)
        with server.client() as client:
            client.config_resetstat()
            for _ in range(50):
                await sidecar(raw)
            calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in client.info("commandstats").items()}
        # The script itself calls TIME, GET for the generation, and the others for the state.
        assert calls.pop("evalsha") == calls.pop("time") == 50
        assert not {"multi", "exec", "hmget", "hget", "eval", "script|load"} & set(calls)
        assert [calls.pop(name) for name in ("get", "getrange", "setrange", "pexpireat")] == [50] * 4

    on_sidecars(world, story)


def test_a_change_costs_each_sidecar_one_refused_take(world):
    raw = world(world.keys.issue("acme")).raw

    async def story(sidecar):
        await sidecar(raw)
        for _ in range(5):
            await world.accounts.set("acme", tier="pro")
            await world.accounts.set("acme", tier="free")
            for _ in range(10):
                await sidecar(raw)
        assert sidecar.stale == 5

    on_sidecars(world, story)


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "ff_live_",
        "ff_live_" + "a" * 32,
        "ff_test_" + "A" * 32,
        "x" * 513,
        "x" * 10_240,
        "é" * 257,
        "two\nlines",
        "\udc80" * 300,
        "\x00",
    ],
)
def test_what_cannot_be_a_key_is_refused_without_a_call_to_redis(world, credential):
    async def asked():
        async with connected(NOBODY) as client:
            return await Directory(Registry(client)).identify(credential)

    assert world(asked()) == Refused(Refusal.MALFORMED)


def test_where_no_foreign_keys_are_wanted_none_is_looked_up(world):
    async def asked(foreign):
        async with connected(NOBODY) as client:
            return await Directory(Registry(client), foreign=foreign, deadline=5).identify("sk-0123456789abcdef")

    assert world(asked(foreign=False)) == Refused(Refusal.MALFORMED)
    with pytest.raises(BackendError):
        world(asked(foreign=True))


def test_invented_keys_leave_no_state(world):
    before = world.names()

    async def asked():
        for _ in range(300):
            found = await world.directory.identify(Form("ff").generate())
            assert found == Refused(Refusal.UNKNOWN)

    world(asked())
    assert world.names() == before


def test_memory_is_bounded_and_the_latest_used_are_kept(world):
    raws = [world(world.keys.issue("acme")).raw for _ in range(12)]
    directory = world.other_directory(most=5)

    async def asked():
        for raw in raws[:5]:
            await directory.identify(raw)
        directory.recall(raws[0])
        for raw in raws[5:9]:
            await directory.identify(raw)

    world(asked())
    assert {raw for raw in raws if directory.recall(raw)} == {raws[0], *raws[5:9]}


def test_forgetting_what_has_been_read_anew_keeps_the_new(world):
    raw = world(world.keys.issue("acme")).raw
    old = world(world.directory.identify(raw))
    new = world(world.directory.identify(raw, fresh=True))
    world.directory.forget(old)
    assert world.directory.recall(raw) is new
    world.directory.forget(new)
    assert world.directory.recall(raw) is None


def test_who_asks_for_it_fresh_gets_what_stands(world):
    new = world(world.keys.issue("acme"))
    world(world.directory.identify(new.raw))
    world(world.keys.revoke("acme", new.key.id))
    assert world(world.directory.identify(new.raw, fresh=True)).refusal is Refusal.REVOKED


def test_a_redis_that_does_not_answer_is_told_within_the_deadline():
    """In real time: 50 ms."""
    with redis_server() as server, world_of(server, "lim") as world:
        world(world.accounts.create("acme", tier="standard"))
        raw, other = (world(world.keys.issue("acme")).raw for _ in range(2))
        directory = Directory(world.registry)
        world(world.directory.identify(raw))
        server.send(signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(BackendTimeout):
            world(directory.identify(other))
        assert time.monotonic() - started < 0.5
        assert isinstance(world(world.directory.identify(raw)), Identity)
        server.send(signal.SIGCONT)


# --- What is written down


def test_the_last_use_is_written_in_one_go_and_changes_nothing_else(world, clock):
    keys = [world(world.keys.issue("acme")) for _ in range(3)]
    generation = world(world.registry.store.read("acme")).generation

    async def used():
        for new in keys[:2]:
            for _ in range(10):
                await world.directory.identify(new.raw)

    world(used())
    clock.now_us += 5 * SECOND
    assert world(world.keys.show("acme", keys[0].key.id)).last_used_us is None
    world(world.directory.flush())
    assert [key.last_used_us for key in world(world.keys.list("acme")).items].count(clock.now_us) == 2
    assert world(world.keys.show("acme", keys[2].key.id)).last_used_us is None
    assert world(world.registry.store.read("acme")).generation == generation


def test_the_use_of_a_key_that_is_gone_is_not_written(world):
    raw = world(world.keys.issue("acme")).raw
    world(world.directory.identify(raw))
    world(world.accounts.delete("acme", with_keys=True))
    world(world.directory.flush())
    assert world.names() == {":{acme}:gen", ":audit"}


def test_refused_attempts_are_told_in_the_audit_with_how_many(world):
    new = world(world.keys.issue("acme"))
    world(world.keys.revoke("acme", new.key.id))

    async def attempts():
        for _ in range(7):
            await world.directory.identify(new.raw, address="203.0.113.9")
        await world.directory.identify(Form("ff").generate(), address="203.0.113.9")

    world(attempts())
    world(world.directory.flush())
    told = {each.action: each for each in world(world.audit.read(refused=True)).items}
    revoked, unknown = told["refused.revoked"], told["refused.unknown"]
    assert (revoked.account, revoked.key, revoked.address, revoked.count) == ("acme", new.key.id, "203.0.113.9", 7)
    assert (unknown.account, unknown.key, unknown.address, unknown.count) == ("", "", "203.0.113.9", 1)


def test_an_attacker_fills_a_few_lines_of_the_audit_and_no_more(world):
    async def attempts():
        for i in range(1000):
            await world.directory.identify("ff_live_nonsense", address=f"2001:db8::{i:x}" + "x" * 1000 * (i % 2))

    world(attempts())
    world(world.directory.flush())
    entries = world(world.audit.read(count=1000, refused=True)).items
    assert len(entries) == 65
    assert sum(each.count for each in entries) == 1000
    assert max(len(each.address) for each in entries) <= 64
    assert not any(each.action.startswith("refused") for each in world(world.audit.read()).items)


def test_what_is_gathered_is_written_every_few_seconds_and_at_the_end(world, clock):
    new = world(world.keys.issue("acme"))

    async def served():
        running = asyncio.create_task(world.directory.run(3600))
        await world.directory.identify(new.raw)
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])

    world(served())
    assert world(world.keys.show("acme", new.key.id)).last_used_us == clock.now_us
