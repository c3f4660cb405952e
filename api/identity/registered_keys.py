"""The registry's keys in one process: those used last are in memory, the others are looked up. It outlives reloads of the configuration.

A remembered identity is only used for decisions under its guard, whether it is admitted or refused: Redis rejects the decision once the
account has changed, and the key is looked up again. So a key that was revoked is refused on its next request, and one that was activated,
widened or prolonged works on its next request. Keys that do not exist are not remembered: memory holds only keys that were once issued.
A key that is not in memory is presumed not to exist, under the guard `absence`, and looked up if Redis rejects that.

Lookups are batched, on connections of their own: any number of them takes no connection from decisions or from other lookups.
"""

import asyncio
from collections import OrderedDict
from contextlib import suppress

from limiter.api.identity.identity import Identity
from limiter.api.registry.activity import Activity
from limiter.api.registry.lookups import Lookup, Lookups
from limiter.api.registry.registry import Registry
from limiter.errors import BackendError
from limiter.protocol.group import Guard
from limiter.protocol.server_clock import ServerClock


class RegisteredKeys:
    """Remembers the `most` identities that were used last, by the SHA-256 of their keys. Lookups take at most `deadline` seconds."""

    def __init__(self, registry: Registry, *, most: int = 20_000, deadline: float = 0.05) -> None:
        self._format = registry.key_format
        self.may_be_known = registry.key_format.may_be_known
        self._most, self._deadline = most, deadline
        self._pointer = registry.names.pointer
        # By the SHA-256 without the pepper, which would be slow and protects only what is stored. Bounded by `most`; an entry is dropped
        # when a guarded decision finds it out of date, or a lookup finds no key.
        self._remembered: OrderedDict[bytes, Identity] = OrderedDict()
        self._clock = ServerClock()
        self.now_us = registry.store.clock or self._clock.now_us
        self._lookups = Lookups(registry.store, self._clock)
        self.activity = Activity(registry.store, registry.audit)

    def recall(self, sha256: bytes) -> Identity | None:
        return self._remembered.get(sha256)

    def use(self, identity: Identity) -> None:
        """Keeps it in memory. A refused request is not a use of its key: refused keys are forgotten before those that work."""
        self._remembered.move_to_end(identity.sha256)
        if identity.source is not None:
            self.activity.used(identity.source.key)

    def remember(self, identity: Identity) -> None:
        self._remembered[identity.sha256] = identity
        self._remembered.move_to_end(identity.sha256)
        if len(self._remembered) > self._most:
            self._remembered.popitem(last=False)

    def forget(self, identity: Identity) -> None:
        """Unless the key was looked up again since."""
        remembered = self._remembered.get(identity.sha256)
        if remembered is not None and remembered.source is identity.source:
            del self._remembered[identity.sha256]

    def absence(self, sha256: bytes) -> Guard:
        """Rejects a decision if the key exists: where nothing points to it, its pointer reads like an account that has never changed."""
        return Guard(self._pointer(self._format.digest_of_sha256(sha256)).encode(), 0)

    async def look_up(self, sha256: bytes) -> Lookup | None:
        """None if the key does not exist. Raises BackendError, or BackendTimeout after the deadline."""
        found = await self._lookups.find(self._format.digest_of_sha256(sha256), self._deadline)
        if found is None:
            self._remembered.pop(sha256, None)
        return found

    async def close(self) -> None:
        await self._lookups.close()

    async def flush(self) -> None:
        asked_at = self._clock.ticks_us()
        server_us = await self.activity.write_uses()
        if server_us is not None:
            self._clock.learn(server_us, asked_at)
        await self.activity.write_refusals(self.now_us())

    async def run(self, every: float = 5.0) -> None:
        """Flushes periodically until cancelled, and then once more. If a write fails, its entries are lost."""
        try:
            while True:
                await asyncio.sleep(every)
                with suppress(BackendError):
                    await self.flush()
        finally:
            with suppress(BackendError):
                await self.flush()
