"""A registry on a prefix of the test, and an event loop to run it on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from limiter import Policy
from limiter.api.identity import Directory, RegisteredKeys
from limiter.api.registry import Lookup, Registry, connected
from limiter.api.rules import Rules, Tier
from limiter.protocol.group import Guard

TIERS = {name: Tier(name, Policy(name, ["1000000/minute"])) for name in ("standard", "pro", "free")}
RULES = Rules({tier.name: tier.key for tier in TIERS.values()}, TIERS)


class World:
    """`world(coroutine)` runs the coroutine."""

    def __init__(self, runner, url, prefix, **options) -> None:
        self.run, self.url, self.prefix = runner.run, url, prefix
        self.client = connected(url, timeout=20)
        self.registry = Registry(self.client, prefix=prefix, **options)
        self.accounts, self.keys, self.audit = self.registry.accounts, self.registry.keys, self.registry.audit
        self._opened: list[RegisteredKeys] = []
        self.registered = self.registered_keys()
        self.directory = Directory(RULES, self.registered)

    def __call__(self, coroutine):
        return self.run(coroutine)

    def other_directory(self, *, deadline=5.0, **options) -> Directory:
        """The directory of another sidecar."""
        return Directory(RULES, self.registered_keys(deadline=deadline, **options))

    def registered_keys(self, *, deadline=5.0, **options) -> RegisteredKeys:
        """The deadline is long enough for a busy machine."""
        self._opened.append(RegisteredKeys(self.registry, deadline=deadline, **options))
        return self._opened[-1]

    async def truth(self, raw: str) -> Lookup:
        """What a lookup of the key must find, by the way of the admin API."""
        key = replace(await self.keys.find(raw), last_used_us=None)
        reading = await self.registry.store.read(key.account)
        guard = Guard(self.registry.names.generation(key.account).encode(), reading.generation)
        return Lookup(key, reading.account, guard, reading.now_us)

    async def close(self) -> None:
        for each in self._opened:
            await each.close()
        await self.client.aclose()

    def together(self, *coroutines):
        async def gathered():
            return await asyncio.gather(*coroutines, return_exceptions=True)

        return self.run(gathered())

    def names(self) -> set[str]:
        """The names of all keys of this test in Redis, without the prefix."""

        async def scanned():
            return {name.decode().removeprefix(self.prefix) async for name in self.client.scan_iter(f"{self.prefix}*", count=1000)}

        return self.run(scanned())


@contextmanager
def world_of(server, prefix, **options) -> Iterator[World]:
    with asyncio.Runner() as runner:

        async def built():
            return World(runner, server.url, prefix, **options)

        world = runner.run(built())
        yield world
        runner.run(world.close())
