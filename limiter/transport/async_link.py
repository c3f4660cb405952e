"""One connection for an event loop. Unlike `link.py`, it leaves deadlines to the caller."""

import asyncio
from typing import Any, Self, TypeVar

import hiredis
import redis
import redis.asyncio

from limiter.errors import BackendError
from limiter.protocol.conversation import Conversation
from limiter.protocol.driver import drive_async
from limiter.protocol.resp import NO_REPLY, reader
from limiter.transport.connections import introduction, provider_of, unconnected

T = TypeVar("T")

_CHUNK = 65536


class AsyncLink:
    __slots__ = ("_connection", "_in", "_out", "_reader")

    def __init__(self, connection: redis.asyncio.Connection) -> None:
        self._connection = connection
        self._reader = reader()
        self._in, self._out = _streams(connection)

    @classmethod
    async def open(cls, connection: redis.asyncio.Connection) -> Self:
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            provider = provider_of(connection)
            credentials = await provider.get_credentials_async() if provider else ()
            link = cls(connection)
            await link.talk(introduction(connection, credentials))
        except BaseException as error:
            await _abort(connection)
            if isinstance(error, redis.RedisError | OSError):
                raise unconnected(error) from None
            raise
        return link

    @property
    def is_fresh(self) -> bool:
        """Whether the server has not closed the connection: that would show as the end of the stream."""
        return not self._in.at_eof() and not self._out.is_closing()

    async def talk(self, conversation: Conversation[T]) -> T:
        """Carry out a conversation. After a BackendError from the connection itself, the link must not be used again."""
        return await drive_async(conversation, self._exchange)

    async def close(self) -> None:
        await _abort(self._connection)

    async def _exchange(self, command: bytes) -> Any:
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


def _streams(connection: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    # redis-py has no public access to its streams.
    return connection._reader, connection._writer  # noqa: SLF001


async def _abort(connection: redis.asyncio.Connection) -> None:
    """Close without waiting for the peer: a TLS shutdown takes a round trip, and the event loop may end before it is over."""
    _, out = _streams(connection)
    if out is not None:
        out.transport.abort()
    await connection.disconnect(nowait=True)
