"""An account's records in Redis: read together, replaced only where they are still what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limiter.api.registry.names import Names
from limiter.api.registry.scripts import Scripts, backend, text
from limiter.protocol.call import Clock

ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Reading:
    """Records as they stood at one moment, "" where there is none, and Redis's time then."""

    now_us: int
    generation: int
    records: dict[str, str]
    used: dict[str, str]

    @property
    def account(self) -> str:
        return self.records[ACCOUNT]


@dataclass(frozen=True, slots=True)
class Write:
    """A record, what it was read as and what it becomes: "" is none."""

    field: str
    before: str
    after: str


class Store:
    """`clock`, for tests, gives microseconds to go by instead of Redis's time.

    An audit entry is written by the script that makes the change. On a `cluster` it stands in another slot, and so follows in a call of
    its own: a process that dies between the two loses the entry, never the change.
    """

    def __init__(self, client: Any, names: Names, *, clock: Clock | None = None, cluster: bool = False, audited: int = 100_000) -> None:
        self.client, self.names, self.clock = client, names, clock
        self.scripts = Scripts.of(client)
        self._cluster, self._audited = cluster, audited

    async def read(self, account: str, *ids: str) -> Reading:
        """In one transaction, so that the generation is that of the records."""
        with backend():
            pipe = self.client.pipeline(transaction=not self._cluster)
            # The generation first: without a transaction it can only be too old, which the guard refuses.
            pipe.get(self.names.generation(account)).hmget(self.names.records(account), [ACCOUNT, *ids])
            pipe.hmget(self.names.used(account), [ACCOUNT, *ids])
            pipe.time()
            generation, records, used, (seconds, us) = await pipe.execute()
        fields = (ACCOUNT, *ids)
        return Reading(
            self.clock() if self.clock else seconds * 1_000_000 + us,
            int(generation or 0),
            dict(zip(fields, map(text, records), strict=True)),
            dict(zip(fields, map(text, used), strict=True)),
        )

    async def change(self, account: str, writes: Sequence[Write], entry: Mapping[str, str], until_us: int | None = None) -> int:
        """The new generation, or 0 where the records have changed since, or `until_us` has passed."""
        told = [part for pair in entry.items() for part in pair]
        arguments = [part for write in writes for part in (write.field, write.before, write.after)]
        with backend():
            generation = int(
                await self.scripts.change(
                    keys=self._keys(account),
                    args=[self.now, "" if until_us is None else until_us, self._audited, len(writes), *arguments, *told],
                )
            )
        return await self._followed(generation, entry)

    async def delete(self, account: str, record: str, most_keys: int, entry: Mapping[str, str]) -> int:
        """The generation it ended with; 0 where the record has changed since, -1 where it has more keys."""
        told = [part for pair in entry.items() for part in pair]
        with backend():
            generation = int(await self.scripts.delete(keys=self._keys(account), args=[self.now, record, most_keys, self._audited, *told]))
        return await self._followed(generation, entry)

    async def now_us(self) -> int:
        with backend():
            seconds, us = await self.client.time()
        return self.clock() if self.clock else int(seconds) * 1_000_000 + int(us)

    async def ids(self, account: str, after: str, count: int) -> list[str]:
        with backend():
            found = await self.client.zrange(self.names.ids(account), f"({after}" if after else "-", "+", bylex=True, offset=0, num=count)
        return [text(each) for each in found]

    async def pointer(self, digest: str) -> str:
        with backend():
            return text(await self.client.get(self.names.pointer(digest)))

    async def claim(self, digest: str, before: str, after: str) -> bool:
        with backend():
            return bool(await self.scripts.claim(keys=[self.names.pointer(digest)], args=[before, after]))

    def _keys(self, account: str) -> list[str]:
        names = self.names
        own = [names.generation(account), names.records(account), names.ids(account), names.used(account)]
        return own if self._cluster else [*own, names.audit]

    @property
    def now(self) -> str:
        return str(self.clock()) if self.clock else ""

    async def _followed(self, generation: int, entry: Mapping[str, str]) -> int:
        if self._cluster and generation > 0:
            with backend():
                await self.client.xadd(self.names.audit, {"at_us": generation, **entry}, maxlen=self._audited, approximate=True)
        return generation
