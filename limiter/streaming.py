"""One connection for an event loop: as `blocking.py`, with the waiting left to asyncio and the deadlines to who calls."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import hiredis
import redis
import redis.asyncio

from limiter.errors import BackendError

_CHUNK = 65536
_NO_REPLY = object()


class AsyncLink:
    __slots__ = ("_connection", "_in", "_out", "_reader")

    def __init__(self, connection: redis.asyncio.Connection) -> None:
        self._connection = connection
        self._reader = hiredis.Reader(notEnoughData=_NO_REPLY)
        # redis-py has no public way to its streams.
        self._in: asyncio.StreamReader = connection._reader  # noqa: SLF001
        self._out: asyncio.StreamWriter = connection._writer  # noqa: SLF001

    @classmethod
    async def open(cls, connection: redis.asyncio.Connection) -> Self:
        try:
            await connection.connect()
            return cls(connection)
        except (redis.RedisError, OSError) as error:
            raise BackendError(f"cannot connect to Redis: {error}") from None
        except asyncio.CancelledError:
            await connection.disconnect(nowait=True)
            raise

    @property
    def is_fresh(self) -> bool:
        """A server that went away shows as the end of the stream."""
        return not self._in.at_eof() and not self._out.is_closing()

    async def exchange(self, command: bytes) -> Any:
        """The reply, an error that Redis replied among them; or BackendError, and the link is of no more use."""
        try:
            self._out.write(command)
            while (reply := self._reader.gets()) is _NO_REPLY:
                received = await self._in.read(_CHUNK)
                if not received:
                    raise BackendError("Redis closed the connection before it answered")
                self._reader.feed(received)
        except (OSError, hiredis.HiredisError) as error:
            raise BackendError(f"the connection to Redis failed: {error}") from None
        return reply

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)
