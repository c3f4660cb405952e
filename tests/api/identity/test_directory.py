"""The directory answers from memory, and is right on the very next request after any change, on all sidecars."""

import asyncio
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limiter import AsyncLimiter, BackendError, BackendTimeout
from limiter.api.identity import Directory, Identity, Refusal, RegisteredKeys
from limiter.api.identity.identity import EXPIRED, MALFORMED, REVOKED, SUSPENDED, UNKNOWN, WRONG_ADDRESS, missing_scope
from limiter.api.identity.translation import Translator
from limiter.api.registry import KeyFormat, Registry, connected
from limiter.api.registry.key_format import sha256_of
from limiter.api.rules import FileKey
from limiter.protocol.call import Stale
from limiter.protocol.group import grouped
from support.clock import DAY, HOUR, SECOND, Clock
from support.registry import RULES, TIERS, world_of
from support.servers.redis_server import redis_server

NOBODY = "redis://127.0.0.1:1"


class Sidecar:
    """Does what the front does: finds the identity, decides under its guard, and looks the key up again if the guard refuses."""

    def __init__(self, world, directory=None) -> None:
        self._prefix, self.directory = world.prefix, directory or world.other_directory()
        self._limiter = AsyncLimiter(world.url, prefix=world.prefix, deadline=5, clock=world.registry.store.clock)
        self.stale = 0

    async def __call__(self, raw, scope=None, address=""):
        """The identity that was admitted, or the refusal."""
        while True:
            found = self.directory.recall(raw, scope, address) or await self.directory.look_up(raw, scope, address)
            identity = found.holder if isinstance(found, Refusal) else found
            if identity is None:
                return found
            group = replace(grouped(self._prefix, identity.policy, identity.subject, 1, identity.account), guard=identity.guard)
            if await self._limiter.verdict(group) is not Stale.GENERATION:
                return found
            self.stale += 1
            self.directory.forget(identity)

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
    async def run():
        async with sidecars(world, number) as started:
            return await story(*started)

    return world(run())


# --- Changes take effect on the next request


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
    "revoke": REVOKED,
    "rotate": REVOKED,
    "suspend": SUSPENDED,
    "expire": EXPIRED,
    "narrow": missing_scope("asset:read"),
    "move": WRONG_ADDRESS,
    "delete": UNKNOWN,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_takes_effect_on_the_next_request_of_every_sidecar(world, change):
    new = world(world.keys.issue("acme", scopes=["asset:read"], addresses=["203.0.113.0/24"]))
    needs = "asset:read", "::ffff:203.0.113.9"

    async def story(*sidecars):
        for sidecar in sidecars:
            assert isinstance(await sidecar(new.raw, *needs), Identity)
            assert sidecar.directory.recall(new.raw, *needs)
        await CHANGES[change](world, new.key)
        for sidecar in sidecars:
            assert await sidecar(new.raw, *needs) == REFUSALS[change]
            assert sidecar.directory.recall(new.raw, *needs) == (None if change == "delete" else REFUSALS[change])

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
    needs = "asset:read", "203.0.113.9"

    async def story(*sidecars):
        await refused(world, new.key)
        for sidecar in sidecars:
            assert isinstance(await sidecar(new.raw, *needs), Refusal)
        await remedy(world, new.key)
        for sidecar in sidecars:
            assert isinstance(await sidecar(new.raw, *needs), Identity)

    on_sidecars(world, story, 3)


def test_a_change_of_tier_is_seen_by_the_next_request(world):
    raw = world(world.keys.issue("acme")).raw

    async def story(*sidecars):
        for tier in ("pro", "free", "pro"):
            await world.accounts.set("acme", tier=tier)
            for sidecar in sidecars:
                assert (await sidecar(raw)).policy.name == tier

    on_sidecars(world, story, 3)


def test_an_unknown_key_that_becomes_known_works_at_once(world):
    raw = "sk-0123456789abcdef"

    async def story(sidecar):
        assert await sidecar(raw) == UNKNOWN
        await world.keys.adopt("acme", raw)
        assert isinstance(await sidecar(raw), Identity)

    on_sidecars(world, story)


def test_a_remembered_key_does_not_revive_when_its_account_is_created_again(world, clock):
    raw = world(world.keys.issue("acme")).raw

    async def story(sidecar):
        assert isinstance(await sidecar(raw), Identity)
        await world.accounts.delete("acme", with_keys=True)
        await world.accounts.create("acme", tier="standard")
        assert await sidecar(raw) == UNKNOWN
        clock.now_us -= HOUR
        assert await sidecar(raw) == UNKNOWN

    on_sidecars(world, story)


def test_a_test_key_works_for_7_days_and_not_longer(world, clock):
    new = world(world.keys.issue("acme", "test"))

    async def story(sidecar):
        clock.now_us += 7 * DAY - 1
        assert isinstance(await sidecar(new.raw), Identity)
        clock.now_us += 1
        assert await sidecar(new.raw) == EXPIRED

    on_sidecars(world, story)


def test_both_keys_of_a_rotation_work_for_the_overlap_and_then_the_new_one(world, clock):
    old = world(world.keys.issue("acme"))
    new = world(world.keys.rotate("acme", old.key.id, 72 * 3600))

    async def story(sidecar):
        clock.now_us += 72 * HOUR - 1
        assert (await sidecar(old.raw)).subject == (await sidecar(new.raw)).subject
        clock.now_us += 1
        assert await sidecar(old.raw) == EXPIRED
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
def test_every_answer_is_that_of_the_current_record_after_any_changes(server, steps):
    clock = Clock()
    with world_of(server, f"t{time.monotonic_ns()}", clock=clock) as world:
        world(world.accounts.create("acme", tier="standard"))
        new = world(world.keys.issue("acme", scopes=["asset:read"]))

        async def story(*sidecars):
            for operation, passing in steps:
                clock.now_us += passing * SECOND
                await asyncio.gather(operation(world, new.key), return_exceptions=True)
                truth = await world.truth(new.raw)
                due = Translator(RULES).of_registry(truth).refusal("asset:read", "", clock.now_us)
                for sidecar in sidecars:
                    answer = await sidecar(new.raw, scope="asset:read")
                    assert (answer if due else answer.source) == (due or truth)

        on_sidecars(world, story, 2)


def test_no_request_that_starts_after_a_revocation_is_admitted(server, prefix):
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


# --- Cost


def test_a_request_with_a_remembered_key_is_one_call_to_redis(world, server):
    raw = world(world.keys.issue("acme")).raw

    async def story(sidecar):
        await sidecar(raw)
        with server.client() as client:
            client.config_resetstat()
            for _ in range(50):
                await sidecar(raw)
            calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in client.info("commandstats").items()}
        # The script calls TIME, GET for the generation, and the others for the state.
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
def test_a_malformed_key_is_refused_without_a_call_to_redis(world, credential):
    async def asked():
        async with connected(NOBODY) as client:
            return await Directory(RULES, RegisteredKeys(Registry(client))).look_up(credential, None, "")

    assert world(asked()) == MALFORMED


def test_a_key_that_was_issued_elsewhere_is_looked_up(world):
    async def asked():
        async with connected(NOBODY) as client:
            return await Directory(RULES, RegisteredKeys(Registry(client), deadline=5)).look_up("sk-0123456789abcdef", None, "")

    with pytest.raises(BackendError):
        world(asked())


def test_unknown_keys_leave_no_state(world):
    before = world.names()

    async def asked():
        for _ in range(300):
            assert await world.directory.look_up(KeyFormat("ff").generate(), None, "") == UNKNOWN

    world(asked())
    assert world.names() == before


def test_memory_is_bounded_and_keeps_the_keys_used_last(world):
    raws = [world(world.keys.issue("acme")).raw for _ in range(12)]
    directory = world.other_directory(most=5)

    async def asked():
        for raw in raws[:5]:
            await directory.look_up(raw, None, "")
        directory.recall(raws[0], None, "")
        for raw in raws[5:9]:
            await directory.look_up(raw, None, "")

    world(asked())
    assert {raw for raw in raws if directory.recall(raw, None, "")} == {raws[0], *raws[5:9]}


def test_refused_keys_are_forgotten_before_those_that_work(world):
    raws = [world(world.keys.issue("acme")).raw for _ in range(4)]
    revoked = world(world.keys.issue("acme"))
    world(world.keys.revoke("acme", revoked.key.id))
    directory = world.other_directory(most=4)

    async def asked():
        await directory.look_up(revoked.raw, None, "")
        for raw in raws:
            assert directory.recall(revoked.raw, None, "") == REVOKED
            await directory.look_up(raw, None, "")

    world(asked())
    assert [bool(directory.recall(raw, None, "")) for raw in [revoked.raw, *raws]] == [False, True, True, True, True]


def test_forgetting_an_identity_keeps_one_that_was_looked_up_since(world):
    raw = world(world.keys.issue("acme")).raw
    directory = world.directory
    old = world(directory.look_up(raw, None, ""))
    directory.forget(old)
    new = world(directory.look_up(raw, None, ""))
    directory.forget(old)
    assert directory.recall(raw, None, "") is new is not old
    directory.forget(new)
    assert directory.recall(raw, None, "") is None


def test_a_key_that_a_new_file_lists_no_longer_belongs_to_the_registry(world):
    raw = world(world.keys.issue("acme")).raw
    assert world(world.directory.look_up(raw, None, "")).account == "acme"
    listed = FileKey("listed", sha256_of(raw).hex(), "of-the-file", TIERS["pro"])
    directory = Directory(replace(RULES, keys={listed.digest: listed}), world.registered)
    assert directory.recall(raw, None, "").account == "of-the-file"
    assert world.directory.recall(raw, None, "").account == "acme"


def test_a_forgotten_key_is_looked_up_again(world):
    new = world(world.keys.issue("acme"))
    world.directory.forget(world(world.directory.look_up(new.raw, None, "")))
    world(world.keys.revoke("acme", new.key.id))
    assert world(world.directory.look_up(new.raw, None, "")) == REVOKED


def test_a_lookup_raises_within_the_deadline_if_redis_does_not_answer():
    """In real time: 50 ms."""
    with redis_server() as server, world_of(server, "lim") as world:
        world(world.accounts.create("acme", tier="standard"))
        raw, other = (world(world.keys.issue("acme")).raw for _ in range(2))
        directory = world.other_directory(deadline=0.05)
        world(world.directory.look_up(raw, None, ""))
        server.send(signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(BackendTimeout):
            world(directory.look_up(other, None, ""))
        assert time.monotonic() - started < 0.5
        assert isinstance(world(world.directory.look_up(raw, None, "")), Identity)
        server.send(signal.SIGCONT)


# --- Last uses and refusals


def test_last_uses_are_written_together_and_change_nothing_else(world, clock):
    keys = [world(world.keys.issue("acme")) for _ in range(3)]
    generation = world(world.registry.store.read("acme")).generation

    async def used():
        for new in keys[:2]:
            for _ in range(10):
                await world.directory.look_up(new.raw, None, "")

    world(used())
    clock.now_us += 5 * SECOND
    assert world(world.keys.show("acme", keys[0].key.id)).last_used_us is None
    world(world.registered.flush())
    assert [key.last_used_us for key in world(world.keys.list("acme")).items].count(clock.now_us) == 2
    assert world(world.keys.show("acme", keys[2].key.id)).last_used_us is None
    assert world(world.registry.store.read("acme")).generation == generation


def test_the_use_of_a_deleted_key_is_not_written(world):
    raw = world(world.keys.issue("acme")).raw
    world(world.directory.look_up(raw, None, ""))
    world(world.accounts.delete("acme", with_keys=True))
    world(world.registered.flush())
    assert world.names() == {":{acme}:gen", ":audit"}


async def attempt(directory, raw, address):
    directory.count_refusal(await directory.look_up(raw, None, address), address)


def test_the_audit_counts_refused_attempts(world):
    new = world(world.keys.issue("acme"))
    world(world.keys.revoke("acme", new.key.id))

    async def attempts():
        for _ in range(7):
            await attempt(world.directory, new.raw, "203.0.113.9")
        await attempt(world.directory, KeyFormat("ff").generate(), "203.0.113.9")

    world(attempts())
    world(world.registered.flush())
    entries = {each.action: each for each in world(world.audit.read(refused=True)).items}
    revoked, unknown = entries["refused.revoked"], entries["refused.unknown"]
    assert (revoked.account, revoked.key, revoked.address, revoked.count) == ("acme", new.key.id, "203.0.113.9", 7)
    assert (unknown.account, unknown.key, unknown.address, unknown.count) == ("", "", "203.0.113.9", 1)


def test_an_attacker_fills_only_a_few_lines_of_the_audit(world):
    async def attempts():
        for i in range(1000):
            await attempt(world.directory, "ff_live_nonsense", f"2001:db8::{i:x}" + "x" * 1000 * (i % 2))

    world(attempts())
    world(world.registered.flush())
    entries = world(world.audit.read(count=1000, refused=True)).items
    assert len(entries) == 65
    assert sum(each.count for each in entries) == 1000
    assert max(len(each.address) for each in entries) <= 64
    assert not any(each.action.startswith("refused") for each in world(world.audit.read()).items)


def test_last_uses_are_written_when_the_sidecar_stops(world, clock):
    new = world(world.keys.issue("acme"))

    async def served():
        running = asyncio.create_task(world.registered.run(3600))
        await world.directory.look_up(new.raw, None, "")
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])

    world(served())
    assert world(world.keys.show("acme", new.key.id)).last_used_us == clock.now_us
