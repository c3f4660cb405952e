"""One connection, for one thread at a time: a command out, a reply back, all within a deadline.

redis-py connects (TLS, passwords, unix sockets, Sentinel); the exchange itself is on the socket, so that *every* wait is bounded by
what is left until the deadline, and costs no more than it must.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Any

import hiredis
import redis

from limiter.errors import BackendError, BackendTimeout

_CHUNK = 65536
_NO_REPLY = object()


class Link:
    __slots__ = ("_connection", "_poller", "_reader", "_socket")

    def __init__(self, connection: redis.Connection, deadline_at: float) -> None:
        self._connection = connection
        self._reader = hiredis.Reader(notEnoughData=_NO_REPLY)
        left = _left(deadline_at)
        connection.socket_connect_timeout = connection.socket_timeout = left
        try:
            connection.connect()
        except redis.TimeoutError:
            raise BackendTimeout("Redis did not accept a connection within the deadline") from None
        except (redis.RedisError, OSError) as error:
            raise BackendError(f"cannot connect to Redis: {error}") from None
        self._socket: socket.socket = connection._sock  # noqa: SLF001 - redis-py has no public way to its socket
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLIN)

    @property
    def is_fresh(self) -> bool:
        """Nothing has arrived unasked: a server that went away shows as the end of the stream."""
        return not self._poller.poll(0)

    def exchange(self, command: bytes, deadline_at: float) -> Any:
        """The reply, an error that Redis replied among them; or BackendError, and the link is of no more use."""
        try:
            self._socket.settimeout(_left(deadline_at))
            self._socket.sendall(command)
            while (reply := self._reader.gets()) is _NO_REPLY:
                self._socket.settimeout(_left(deadline_at))
                received = self._socket.recv(_CHUNK)
                if not received:
                    raise BackendError("Redis closed the connection before it answered")
                self._reader.feed(received)
        except TimeoutError:
            raise BackendTimeout("Redis did not answer within the deadline") from None
        except OSError as error:
            raise BackendError(f"the connection to Redis failed: {error}") from None
        return reply

    def close(self) -> None:
        self._connection.disconnect()


def _left(deadline_at: float) -> float:
    # Not 0, which would mean not to block at all: a reply that is there is read even by a caller that was held up.
    return max(deadline_at - time.monotonic(), 0.001)
