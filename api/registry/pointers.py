"""From a digest to whose key it is: one small key in Redis for each, in a slot of its own.

A pointer is claimed before its key is written, and for a short while only: who is not done within `WRITTEN_WITHIN` seconds must not
write any more, and a pointer that leads nowhere may be claimed by another once that is surely over. So a digest never has two keys.
"""

from __future__ import annotations

from limiter.api.registry.changes import made_at
from limiter.api.registry.codec import decode_key
from limiter.api.registry.errors import Conflict
from limiter.api.registry.records import Key
from limiter.api.registry.store import Store

WRITTEN_WITHIN_US = 5_000_000
_SURELY_OVER_US = 2 * WRITTEN_WITHIN_US


def pointing_at(key: Key) -> str:
    return f"{key.account} {key.id}"


class Pointers:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def claim(self, key: Key) -> None:
        """For a key that is about to be written."""
        before = await self._store.pointer(key.digest)
        if before:
            await self._check_free(before, key)
        if not await self._store.claim(key.digest, before, pointing_at(key)):
            raise _under_way()

    async def release(self, digest: str, pointed: str) -> None:
        """Unless it leads elsewhere by now."""
        await self._store.claim(digest, pointed, "")

    async def _check_free(self, pointed: str, key: Key) -> None:
        account, _, key_id = pointed.partition(" ")
        record = (await self._store.read(account, key_id)).records[key_id]
        if record and decode_key(account, key_id, record).digest == key.digest:
            raise Conflict(f"this key is known already: account {account!r} has it as {key_id!r}")
        if key.created_us - made_at(key_id) < _SURELY_OVER_US:
            raise _under_way()


def _under_way() -> Conflict:
    return Conflict("this key is being imported just now, or an import of it broke off: try again in 10 seconds")
