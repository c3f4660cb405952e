"""A registry on a prefix of the test, and an event loop to run it on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from limiter import Policy
from limiter.api.identity import Directory, RegisteredKeys
from limiter.api.registry import Registry, connected
from limiter.api.rules import Rules, Tier

TIERS = {name: Tier(name, Policy(name, ["1000000/minute"])) for name in ("standard", "pro", "free")}
RULES = Rules({tier.name: tier.key for tier in TIERS.values()}, TIERS)


class World:
    """`world(coroutine)` runs the coroutine."""

    def __init__(self, runner, url, prefix, **options) -> None:
        self.run, self.url, self.prefix = runner.run, url, prefix
        self.client = connected(url)
        self.registry = Registry(self.client, prefix=prefix, **options)
        self.accounts, self.keys, self.audit = self.registry.accounts, self.registry.keys, self.registry.audit
        self.registered = RegisteredKeys(self.registry, deadline=5.0)
        self.directory = Directory(RULES, self.registered)

    def __call__(self, coroutine):
        return self.run(coroutine)

    def other_directory(self, *, deadline=5.0, **options) -> Directory:
        """The directory of another sidecar. The deadline is long enough for a busy machine."""
        return Directory(RULES, RegisteredKeys(self.registry, deadline=deadline, **options))

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
        runner.run(world.client.aclose())
