"""When keys were last used: gathered in the process and written every few seconds, which is as exact as it gets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from limiter.api.registry.records import Key
from limiter.api.registry.scripts import backend
from limiter.api.registry.store import Store

# Accounts in one pipeline: enough to save round trips, too few to hold Redis up.
_AT_ONCE = 200


class Uses:
    __slots__ = ("_store", "_used")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._used: defaultdict[str, set[str]] = defaultdict(set)

    def note(self, key: Key) -> None:
        self._used[key.account].add(key.id)

    async def flush(self) -> int | None:
        """Redis's time, where there was something to write."""
        used, self._used = list(self._used.items()), defaultdict(set)
        told_us = None
        for at in range(0, len(used), _AT_ONCE):
            told_us = await self._write(used[at : at + _AT_ONCE])
        return told_us

    async def _write(self, used: Sequence[tuple[str, set[str]]]) -> int:
        store, names = self._store, self._store.names
        with backend():
            pipe = store.client.pipeline(transaction=False)
            for account, keys in used:
                await store.scripts.used(keys=[names.records(account), names.used(account)], args=[store.now, *keys], client=pipe)
            return int((await pipe.execute())[0])
