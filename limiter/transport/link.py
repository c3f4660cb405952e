"""One connection, for one thread at a time. It sends a command and returns the reply, within a deadline.

redis-py opens the connection (TLS, passwords, unix sockets, Sentinel). Commands and replies go through the socket directly, so that
the deadline bounds *every* wait.
"""

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
from limiter.protocol.driver import drive
from limiter.protocol.resp import NO_REPLY, reader
from limiter.transport.connections import introduction, provider_of, unconnected

T = TypeVar("T")

_CHUNK = 65536
# Seconds after a reply during which a connection counts as open without a check.
_FRESH_FOR = 0.0002
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


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
            raise unconnected(error) from None
        # redis-py has no public access to its socket.
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
        """Whether the server has not closed the connection: that would show as readable data.

        Just after a reply, the check would cost more than it is likely to find, and is skipped.
        """
        return time.monotonic() - self._answered_at < _FRESH_FOR or not self._poller.poll(0)

    def talk(self, conversation: Conversation[T], deadline_at: float) -> T:
        """Carry out a conversation. After a BackendError from the connection itself, the link must not be used again."""
        return drive(conversation, lambda command: self._exchange(command, deadline_at))

    def close(self) -> None:
        self._connection.disconnect()  # type: ignore[no-untyped-call]

    def _exchange(self, command: bytes, deadline_at: float) -> Any:
        try:
            self._send(command, deadline_at)
            while (reply := self._reader.gets()) is NO_REPLY:
                self._reader.feed(self._receive(deadline_at))
        except (OSError, hiredis.HiredisError) as error:
            raise BackendError(f"the connection to Redis failed: {error}") from None
        self._answered_at = time.monotonic()
        return reply

    def _send(self, command: bytes, deadline_at: float) -> None:
        while command:
            try:
                sent = self._socket.send(command)
            except _WOULD_BLOCK:
                self._await(select.POLLOUT, deadline_at)
            else:
                command = command[sent:]

    def _receive(self, deadline_at: float) -> bytes:
        while True:
            # TLS may have decrypted data that the socket no longer shows.
            if self._pending is None or not self._pending():
                self._await(select.POLLIN, deadline_at)
            try:
                received = self._socket.recv(_CHUNK)
            except _WOULD_BLOCK:
                continue
            if not received:
                raise BackendError("Redis closed the connection before it answered")
            return received

    def _await(self, event: int, deadline_at: float) -> None:
        if event != select.POLLIN:
            self._poller.modify(self._socket, event)
        # At least 1 ms: a reply that has arrived is read even if the caller was held up until after its deadline.
        ready = self._poller.poll(max(1, (deadline_at - time.monotonic()) * 1000))
        if event != select.POLLIN:
            self._poller.modify(self._socket, select.POLLIN)
        if not ready:
            raise BackendTimeout("Redis did not answer within the deadline")
