"""One connection for an event loop: as `blocking.py`, with the waiting left to asyncio and the deadlines to who calls."""

from __future__ import annotations

import asyncio
from typing import Any, Self, TypeVar, cast

import hiredis
import redis
import redis.asyncio

from limiter.errors import BackendError
from limiter.protocol.conversation import Conversation
from limiter.protocol.resp import NO_REPLY, reader
from limiter.transport.connections import introduction, provider_of

T = TypeVar("T")

_CHUNK = 65536


class AsyncLink:
    __slots__ = ("_connection", "_in", "_out", "_reader")

    def __init__(self, connection: redis.asyncio.Connection) -> None:
        self._connection = connection
        self._reader = reader()
        # redis-py has no public way to its streams.
        self._in = cast("asyncio.StreamReader", connection._reader)  # noqa: SLF001
        self._out = cast("asyncio.StreamWriter", connection._writer)  # noqa: SLF001

    @classmethod
    async def open(cls, connection: redis.asyncio.Connection) -> Self:
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            provider = provider_of(connection)
            credentials = await provider.get_credentials_async() if provider else ()
            link = cls(connection)
            await link.talk(introduction(connection, credentials))
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, redis.RedisError | OSError):
                raise BackendError(f"cannot connect to Redis: {error}") from None
            raise
        return link

    @property
    def is_fresh(self) -> bool:
        """A server that went away shows as the end of the stream."""
        return not self._in.at_eof() and not self._out.is_closing()

    async def exchange(self, command: bytes) -> Any:
        """The reply, an error that Redis replied among them; or BackendError, and the link is of no more use."""
        try:
            self._out.write(command)
            while (reply := self._reader.gets()) is NO_REPLY:
                received = await self._in.read(_CHUNK)
                if not received:
                    raise BackendError("Redis closed the connection before it answered")
                self._reader.feed(received)
        except (OSError, hiredis.HiredisError) as error:
            raise BackendError(f"the connection to Redis failed: {error}") from None
        return reply

    async def talk(self, conversation: Conversation[T]) -> T:
        """Carry a conversation to its end."""
        try:
            command = next(conversation)
            while True:
                command = conversation.send(await self.exchange(command))
        except StopIteration as end:
            result: T = end.value
            return result

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)
