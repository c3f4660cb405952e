"""A uvicorn server on a socket that is already bound, with a shutdown that loses no request.

`stop` refuses new connections, serves those that the kernel has already accepted, gives idle clients a moment to send one more
request (the response closes the connection), and then waits for the requests in flight until its deadline.
"""

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

# Longer than gateways keep idle connections (60 s by default): if the server closed one first, a request could be lost.
KEEP_ALIVE_S = 75
# How long clients with open connections get to send one more request. Its response closes the connection.
_DRAIN_S = 1.0


def bind(host: str, port: int, option: str) -> socket.socket:
    """A listening socket. Errors suggest to change the command-line `option`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except socket.gaierror as error:
        raise Misused(f"{host!r} is not an address of this machine: {error.strerror}") from None
    except (OSError, OverflowError) as error:
        raise CannotStart(_unbound(host, port, option, error)) from None
    listener.setblocking(False)
    return listener


def _unbound(host: str, port: int, option: str, error: OSError | OverflowError) -> str:
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop the process that uses it, or set another port with {option}"
    if getattr(error, "errno", None) == errno.EACCES:
        return f"port {port} needs more privileges: set a port above 1023 with {option}"
    return f"cannot listen on port {port} of {host}: {getattr(error, 'strerror', None) or error}"


def http_url(listener: socket.socket, *, tls: bool = False) -> str:
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
    """A server with `start` and `stop`."""

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
        """Returns within `deadline` seconds."""
        until = time.monotonic() + deadline
        await self._refuse_new()
        await self._let_finish(min(until, time.monotonic() + _DRAIN_S))
        self.config.timeout_graceful_shutdown = max(1, round(until - time.monotonic()))
        self.should_exit = True
        if self._running:
            await self._running

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """No-op: the process handles signals, for all its servers."""
        yield

    async def _refuse_new(self) -> None:
        # Closing a listening socket resets the connections in its queue. A duplicate keeps it open until they are accepted.
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
        # Polls, as uvicorn has no event for it.
        while self.server_state.connections and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _accepted(listener: socket.socket) -> Generator[socket.socket, None, None]:
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection
