"""uvicorn, started and stopped by us: on sockets that are bound before anything else, and without losing a request at the end.

To stop is: refuse new connections; answer those that the kernel had already taken; tell every client, with its next answer, that the
connection ends; give those that ask nothing a moment; then wait for the requests under way, as long as the deadline allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import uvicorn

from limiter.api.command_errors import CannotStart, Misused
from limiter.api.front import Application

# Gateways keep connections to us for a minute; were we the first to close one, a request could be lost.
KEEP_ALIVE_S = 75
_BACKLOG = 2048
# For a client in the middle of a conversation to come with its next request, and learn that it is the last.
_LAST_WORDS_S = 1.0


def bind(host: str, port: int, option: str, *, shared: bool = False) -> socket.socket:
    """A listening socket; `option` is what to change if it cannot be had. `shared`: with others on the same port."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG, reuse_port=shared)
    except socket.gaierror as error:
        raise Misused(f"there is no address {host!r} here: {error.strerror}") from None
    except (OSError, OverflowError) as error:
        raise CannotStart(_unbound(host, port, option, error)) from None
    listener.setblocking(False)
    return listener


def _unbound(host: str, port: int, option: str, error: OSError | OverflowError) -> str:
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what uses it, or name another with {option}"
    if getattr(error, "errno", None) == errno.EACCES:
        return f"port {port} needs more rights: name one above 1023 with {option}"
    return f"cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}"


def url_of(listener: socket.socket, *, tls: bool = False) -> str:
    host, port = listener.getsockname()[:2]
    return f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"


def config_for(app: Application, *, cert: Path | None = None, key: Path | None = None, **options: Any) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_certfile=cert,
        ssl_keyfile=key,
        **{"http": "httptools", "ws": "none", "timeout_keep_alive": KEEP_ALIVE_S, **options},
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise Misused(f"the certificate {cert} or its key {key} cannot be used: {error}") from None
    return config


class Listening(uvicorn.Server):
    """A server whose life is in our hands: `async with`, or `start` and `stop`."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener
        self._running: asyncio.Task[None] | None = None
        self._began = asyncio.Event()

    async def start(self) -> None:
        self._running = asyncio.create_task(self.serve([self._listener]))
        await self._began.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._began.set()

    async def stop(self, deadline: float) -> None:
        """Whole within `deadline` seconds."""
        until = time.monotonic() + deadline
        await self._refuse_new()
        await self._let_finish(min(until, time.monotonic() + _LAST_WORDS_S))
        self.config.timeout_graceful_shutdown = max(1, round(until - time.monotonic()))
        self.should_exit = True
        if self._running:
            await self._running

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are for the process, which is more than one server."""
        yield

    async def _refuse_new(self) -> None:
        # Closing a listening socket resets the connections that wait in it. The copy keeps it open until they are taken out.
        spare = self._listener.dup()
        for server in self.servers:
            server.close()
        self._listener.close()
        waiting = list(_accepted(spare))
        spare.close()
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(config=self.config, server_state=self.server_state, app_state={})  # type: ignore[call-arg]

    async def _let_finish(self, until: float) -> None:
        # uvicorn has nobody to tell us of it.
        while self.server_state.connections and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _accepted(listener: socket.socket) -> Generator[socket.socket, None, None]:
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection
