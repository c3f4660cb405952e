"""The address of upstream, the pool of connections to it, and the log of its failures."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self
from urllib.parse import unquote, urlsplit

import structlog

from limiter.api.proxy.proxy_errors import ProxyError, Unreachable
from limiter.api.proxy.upstream_connection import Connection
from limiter.api.rules import UpstreamTimeouts

_log = structlog.get_logger("limiter.proxy")

# A line of the log summarises the failures of this many seconds.
_EVERY_S = 1.0
_PORTS = {"http": 80, "https": 443}
_MAX_IDLE = 256


@dataclass(frozen=True, slots=True)
class Address:
    """`http://host:port/base`, `https://…`, or `http+unix://%2Frun%2Fapi.sock/base`; `base` goes before every path."""

    host: str
    port: int
    base: bytes
    authority: bytes
    tls: bool = False
    socket_path: str | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        parts = urlsplit(url)
        if parts.query or parts.fragment or parts.username or not parts.netloc:
            raise ValueError(f"upstream must be a URL such as http://host:port or http://host:port/base, not {url!r}")
        base = parts.path.rstrip("/").encode("ascii")
        if parts.scheme == "http+unix":
            return cls("localhost", 0, base, b"localhost", socket_path=unquote(parts.netloc))
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"upstream must be a URL with the scheme http, https or http+unix, not {url!r}")
        port = parts.port or _PORTS[parts.scheme]
        return cls(parts.hostname, port, base, parts.netloc.encode("idna"), tls=parts.scheme == "https")


class Upstream:
    """A stack of idle connections. The one used last is the least likely to be closed by upstream. `timeouts` returns those in force."""

    def __init__(self, address: Address, timeouts: Callable[[], UpstreamTimeouts], *, idle_timeout: float) -> None:
        self._address, self.timeouts, self._idle_timeout = address, timeouts, idle_timeout
        self._idle: deque[Connection] = deque()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._tls = ssl.create_default_context() if address.tls else None

    async def acquire(self, *, fresh: bool = False) -> Connection:
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.is_quiet:
                return connection
            connection.close()
        return await self._connect()

    def release(self, connection: Connection) -> None:
        """Keeps the connection for another exchange, or closes it if it cannot be used again."""
        if not connection.reusable or self._closing or len(self._idle) >= _MAX_IDLE:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(self._idle_timeout, self._sweep)

    def close(self) -> None:
        """Closes idle connections. Those in use close when their exchanges end."""
        self._closing = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        while self._idle:
            self._idle.pop().close()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while self._idle and (self._idle[0].closed or self._idle[0].idle_since + self._idle_timeout <= loop.time()):
            self._idle.popleft().close()
        self._sweep_timer = None
        if self._idle:
            self._sweep_timer = loop.call_at(self._idle[0].idle_since + self._idle_timeout, self._sweep)

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self.timeouts().connect):
                return await self._open()
        except TimeoutError:
            raise Unreachable("Upstream did not accept the connection in time.", status=504, error="connection_timeout") from None
        except socket.gaierror:
            raise Unreachable("The upstream's name cannot be resolved.", error="dns_error") from None
        except ssl.SSLError:
            raise Unreachable("The TLS handshake with the upstream failed.", error="tls_protocol_error") from None
        except ConnectionRefusedError:
            raise Unreachable("The upstream refused the connection.", error="connection_refused") from None
        except OSError:
            raise Unreachable("The upstream cannot be reached.") from None

    async def _open(self) -> Connection:
        loop, address = asyncio.get_running_loop(), self._address
        factory = partial(Connection, loop)
        if address.socket_path is not None:
            return (await loop.create_unix_connection(factory, address.socket_path))[1]
        return (await loop.create_connection(factory, address.host, address.port, ssl=self._tls))[1]


class UpstreamFailures:
    def __init__(self) -> None:
        self._requests = 0
        self._last: ProxyError

    def note(self, error: ProxyError) -> None:
        if not self._requests:
            asyncio.get_running_loop().call_later(_EVERY_S, self._report)
        self._requests += 1
        self._last = error

    def _report(self) -> None:
        _log.warning("the upstream fails", requests=self._requests, last=self._last.detail, error=self._last.error)
        self._requests = 0
