"""One connection, for one thread at a time: a command out, a reply back, all within a deadline.

redis-py connects (TLS, passwords, unix sockets, Sentinel); the exchange itself is on the socket, so that *every* wait is bounded by
what is left until the deadline, and costs no more than it must.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import hiredis
import redis

from limiter.errors import BackendError, BackendTimeout
from limiter.protocol.conversation import Conversation
from limiter.protocol.resp import NO_REPLY, reader
from limiter.transport.connections import introduction, provider_of

T = TypeVar("T")

_CHUNK = 65536
_MOMENT = 0.0002
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Link:
    __slots__ = ("_answered_at", "_connection", "_pending", "_poller", "_reader", "_socket")

    def __init__(self, connection: redis.Connection, deadline_at: float) -> None:
        self._connection = connection
        self._answered_at = 0.0
        self._reader = reader()
        connection.socket_connect_timeout = connection.socket_timeout = max(deadline_at - time.monotonic(), 0.001)
        try:
            connection.connect()  # type: ignore[no-untyped-call]
            provider = provider_of(connection)
            credentials = provider.get_credentials() if provider else ()
        except redis.TimeoutError:
            raise BackendTimeout("Redis did not accept a connection within the deadline") from None
        except (redis.RedisError, OSError) as error:
            raise BackendError(f"cannot connect to Redis: {error}") from None
        # redis-py has no public way to its socket.
        self._socket = cast("socket.socket", connection._sock)  # noqa: SLF001
        self._socket.setblocking(False)
        self._pending: Callable[[], int] | None = getattr(self._socket, "pending", None)
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLIN)
        try:
            self.talk(introduction(connection, credentials), deadline_at)
        except BaseException:
            self.close()
            raise

    @property
    def is_fresh(self) -> bool:
        """Nothing has arrived unasked: a server that went away shows as the end of the stream.

        Not looked for within a moment of its last answer, when the look would cost more than it is likely to find.
        """
        return time.monotonic() - self._answered_at < _MOMENT or not self._poller.poll(0)

    def exchange(self, command: bytes, deadline_at: float) -> Any:
        """The reply, an error that Redis replied among them; or BackendError, and the link is of no more use."""
        try:
            self._send(command, deadline_at)
            while (reply := self._reader.gets()) is NO_REPLY:
                self._reader.feed(self._receive(deadline_at))
        except (OSError, hiredis.HiredisError) as error:
            raise BackendError(f"the connection to Redis failed: {error}") from None
        self._answered_at = time.monotonic()
        return reply

    def talk(self, conversation: Conversation[T], deadline_at: float) -> T:
        """Carry a conversation to its end."""
        try:
            command = next(conversation)
            while True:
                command = conversation.send(self.exchange(command, deadline_at))
        except StopIteration as end:
            result: T = end.value
            return result

    def close(self) -> None:
        self._connection.disconnect()  # type: ignore[no-untyped-call]

    def _send(self, command: bytes, deadline_at: float) -> None:
        while command:
            try:
                sent = self._socket.send(command)
            except _NOT_NOW:
                self._await(select.POLLOUT, deadline_at)
            else:
                command = command[sent:]

    def _receive(self, deadline_at: float) -> bytes:
        while True:
            # A TLS layer may hold what the socket no longer does.
            if self._pending is None or not self._pending():
                self._await(select.POLLIN, deadline_at)
            try:
                received = self._socket.recv(_CHUNK)
            except _NOT_NOW:
                continue
            if not received:
                raise BackendError("Redis closed the connection before it answered")
            return received

    def _await(self, event: int, deadline_at: float) -> None:
        if event != select.POLLIN:
            self._poller.modify(self._socket, event)
        # At least a moment: a reply that is there is read, even by a caller that was held up until after its deadline.
        ready = self._poller.poll(max(1, (deadline_at - time.monotonic()) * 1000))
        if event != select.POLLIN:
            self._poller.modify(self._socket, select.POLLIN)
        if not ready:
            raise BackendTimeout("Redis did not answer within the deadline")
