"""A registry on a prefix of the test, and an event loop to run it on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from limiter.api.registry import Directory, Registry
from limiter.api.registry.registry import connected


class World:
    """`world(coroutine)` runs the coroutine."""

    def __init__(self, runner, url, prefix, **options) -> None:
        self.run, self.url, self.prefix = runner.run, url, prefix
        self.client = connected(url)
        self.registry = Registry(self.client, prefix=prefix, **options)
        self.accounts, self.keys, self.audit = self.registry.accounts, self.registry.keys, self.registry.audit
        self.directory = self.other_directory()

    def __call__(self, coroutine):
        return self.run(coroutine)

    def other_directory(self, **options) -> Directory:
        """The directory of another sidecar, with a deadline long enough for a busy machine."""
        return Directory(self.registry, **{"deadline": 5.0, **options})

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
