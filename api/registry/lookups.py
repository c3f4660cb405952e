"""Finds keys by their digests: many in one conversation with Redis, and batched as decisions are.

A conversation is two calls at most. The first reads what the digests point at; digests that lead nowhere cost no more than that. The
second reads the keys and their accounts. In a Redis Cluster, pointers are in other slots than accounts, and so each of the two calls
becomes one for each node.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from limiter.api.registry.records import Account, Key, decode_account, decode_key
from limiter.api.registry.store import Names, Store, script_source
from limiter.errors import BackendError
from limiter.protocol.call import Clock
from limiter.protocol.conversation import Conversation, accepted, lacks_script
from limiter.protocol.group import Guard
from limiter.protocol.resp import pack
from limiter.protocol.server_clock import ServerClock
from limiter.transport.async_link import AsyncLink
from limiter.transport.batching import Batcher
from limiter.transport.connections import async_factory

_SOURCE = script_source("read").encode()
_SHA = hashlib.sha1(_SOURCE, usedforsecurity=False).hexdigest().encode()

# A digest, the account, and the id of the key.
Pointer = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Lookup:
    """A key with its account as they were at `read_us`, and the guard that refuses a take once either has changed."""

    key: Key
    account: Account
    guard: Guard
    read_us: int = field(compare=False)


class Lookups:
    """The lookups of one event loop. `estimate` learns Redis's time from each call."""

    def __init__(self, store: Store, estimate: ServerClock) -> None:
        self._names, self._clock, self._estimate = store.names, store.clock, estimate
        self._connect = async_factory(store.client)
        # Created with the first lookup, because it belongs to the running loop.
        self._batcher: Batcher[str, Lookup | None] | None = None

    async def find(self, digest: str, deadline: float) -> Lookup | None:
        """None if no key has this digest. Raises BackendError, or BackendTimeout after the deadline."""
        if self._batcher is None:
            self._batcher = Batcher(self._open_link, self._converse, _unanswered)
        future: asyncio.Future[Lookup | None] = self._batcher.loop.create_future()
        self._batcher.submit(digest, deadline, future)
        return await future

    async def close(self) -> None:
        batcher, self._batcher = self._batcher, None
        if batcher:
            await batcher.close()

    async def _open_link(self) -> AsyncLink:
        return await AsyncLink.open(self._connect())

    def _converse(self, digests: Sequence[str]) -> Conversation[list[Lookup | BackendError | None]]:
        return find_keys(digests, self._names, self._estimate, self._clock)


def find_keys(
    digests: Sequence[str], names: Names, estimate: ServerClock, injected: Clock | None
) -> Conversation[list[Lookup | BackendError | None]]:
    """The answers in the order of the digests. A digest that occurs more than once is looked up once."""
    found: dict[str, Lookup | BackendError | None] = dict.fromkeys(digests)
    pointers = accepted((yield pack(b"MGET", *map(names.pointer, found))))
    pointed = [(digest, *_parts(pointer)) for digest, pointer in zip(found, pointers, strict=True) if pointer]
    if pointed:
        asked_at = estimate.ticks_us()
        seconds, us, *values = yield from _read(pointed, names)
        read_us = int(seconds) * 1_000_000 + int(us)
        estimate.learn(read_us, asked_at)
        moment = read_us if injected is None else injected()
        for pointer, generation, records in zip(pointed, values[::2], values[1::2], strict=True):
            found[pointer[0]] = _lookup(pointer, names, generation, records, moment)
    return [found[digest] for digest in digests]


def _read(pointed: Sequence[Pointer], names: Names) -> Conversation[list[Any]]:
    keys = [name for _, account, _ in pointed for name in (names.generation(account), names.records(account))]
    arguments = (str(len(keys)), *keys, *(key_id for _, _, key_id in pointed))
    reply = yield pack(b"EVALSHA", _SHA, *arguments)
    if lacks_script(reply):
        reply = yield pack(b"EVAL", _SOURCE, *arguments)
    values: list[Any] = accepted(reply)
    return values


def _parts(pointer: bytes) -> tuple[str, str]:
    account, _, key_id = pointer.decode(errors="replace").partition(" ")
    return account, key_id


def _lookup(pointer: Pointer, names: Names, generation: Any, records: Any, read_us: int) -> Lookup | BackendError | None:
    digest, account, key_id = pointer
    try:
        # An error of Redis in place of a value raises TypeError here.
        of_account, of_key = records
        if not of_account or not of_key:
            return None
        key = decode_key(account, key_id, of_key.decode())
        guard = Guard(names.generation(account).encode(), int(generation or 0))
        return Lookup(key, decode_account(account, of_account.decode()), guard, read_us) if key.digest == digest else None
    except (TypeError, ValueError, AttributeError):
        return BackendError(f"the records of account {account!r} in Redis must be those of this program: another one may use the prefix")


def _unanswered(_: str, error: BackendError) -> Lookup | None:
    """Without Redis, nothing is known about a key that is not in memory."""
    raise error
