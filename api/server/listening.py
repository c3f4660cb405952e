"""A uvicorn server on a socket that is already bound, with bounds on its connections and a shutdown that loses no request.

It accepts connections itself, so that one too many costs neither a protocol nor a TLS handshake, and so that new connections wait in the
kernel's queue while no descriptor is free. libuv would close them without an answer.

`stop` refuses new connections, serves those that the kernel has already accepted, gives idle clients a moment to send one more
request (the response closes the connection), and then waits for the requests in flight until its deadline. It cuts the others off.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from collections.abc import Generator
from functools import partial
from typing import Any

import structlog
import uvicorn

from limiter.api.answers import Answer, head_of, problem
from limiter.api.command_errors import CannotStart, Misused
from limiter.api.front import Application
from limiter.api.proxy.downstream import DownstreamProtocol
from limiter.api.proxy.small_reads import SmallReads
from limiter.api.rules import ConnectionBounds
from limiter.api.server.client_connections import Connections, admin_connections
from limiter.problems import REDUCED_CAPACITY

# How many connections are accepted in one turn of the event loop.
_AT_ONCE = 64
# The pause after accept() has failed for lack of descriptors or memory.
_PAUSE_S = 0.25
# How long clients with open connections get to send one more request. Its response closes the connection.
_DRAIN_S = 1.0
_POLL_S = 0.05
# How long the tasks of requests that were cut off may take to notice.
_CUT_OFF_S = 1

_log = structlog.get_logger("limiter.front")

_REFUSAL = problem(
    503,
    "The limiter has too many open connections; try again.",
    kind=REDUCED_CAPACITY,
    headers=((b"retry-after", b"1"), (b"connection", b"close")),
)
# Without Retry-After: the request may have had an effect, and many clients would repeat it by themselves.
_CUT_OFF = problem(503, "The limiter stopped before the request was answered.", headers=((b"connection", b"close"),))


def _head_of(answer: Answer, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 503 Service Unavailable\r\n%b%bcontent-length: %d\r\n\r\n" % (more, answer.head, len(answer.body))


_HEAD_OF_REFUSAL = _head_of(_REFUSAL)


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


def config_for(app: Application, **options: Any) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        **{"http": DownstreamProtocol, "ws": "none", "timeout_keep_alive": ConnectionBounds().idle, **options},
    )
    config.load()
    return config


class Listening(uvicorn.Server):
    """A server with `start` and `stop`. Without `connections`, the bounds are those of the admin listener."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, connections: Connections | None = None) -> None:
        super().__init__(config)
        self._listener = listener
        self._connections = admin_connections(config.timeout_keep_alive) if connections is None else connections
        self._opening: set[asyncio.Task[None]] = set()
        self._resumption: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._began = asyncio.Event()

    async def start(self) -> None:
        self._running = asyncio.create_task(self.serve([]))
        await self._began.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._connections.start()
        self._listen()
        self._began.set()

    def use(self, tls: ssl.SSLContext) -> None:
        """Without this call, the listener speaks plain HTTP. Applies to the handshakes from now on."""
        self.config.ssl = tls

    async def stop(self, deadline: float) -> None:
        """Returns within `deadline` seconds."""
        until = time.monotonic() + deadline
        await self._refuse_new()
        await self._let_finish(min(until, time.monotonic() + _DRAIN_S))
        await self._drain(until)
        self._cut_off()
        self.config.timeout_graceful_shutdown = _CUT_OFF_S
        self.should_exit = True
        if self._running:
            await self._running
        self._connections.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """No-op: the process handles signals, for all its servers."""
        yield

    def _listen(self) -> None:
        self._resumption = None
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            for _ in range(_AT_ONCE):
                self._welcome(*self._listener.accept())
        except (BlockingIOError, ConnectionAbortedError):
            pass
        except OSError as error:
            self._pause(error)

    def _welcome(self, accepted: socket.socket, address: tuple[str, int]) -> None:
        accepted.setblocking(False)
        if self._connections.admit(address[0]):
            connection = self._protocol()
            opening = asyncio.create_task(self._open(connection, accepted))
            self._opening.add(opening)
            self._connections.add(connection, address[0], opening if self.config.ssl else None)
            opening.add_done_callback(partial(self._opened, connection, accepted))
        else:
            _refuse(accepted, tls=self.config.ssl is not None)

    def _protocol(self) -> DownstreamProtocol:
        make: Any = self.config.http_protocol_class
        connection: DownstreamProtocol = make(config=self.config, server_state=self.server_state, app_state={})
        return connection

    async def _open(self, connection: DownstreamProtocol, accepted: socket.socket) -> None:
        context = self.config.ssl
        timeout = {"ssl_handshake_timeout": self._connections.head_timeout} if context else {}
        await asyncio.get_running_loop().connect_accepted_socket(lambda: SmallReads(connection), accepted, ssl=context, **timeout)

    def _opened(self, connection: DownstreamProtocol, accepted: socket.socket, opening: asyncio.Task[None]) -> None:
        self._opening.discard(opening)
        # The handshake failed, timed out, or was cancelled for another connection.
        if opening.cancelled() or opening.exception() is not None:
            self._connections.remove(connection)
            accepted.close()
        elif connection not in self._connections:
            connection.abort()

    def _pause(self, error: OSError) -> None:
        """The queue stays readable, so trying again at once would keep the process busy."""
        self._connections.report(error)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._resumption = loop.call_later(_PAUSE_S, self._listen)

    async def _refuse_new(self) -> None:
        """Serves the connections in the kernel's queue, because closing a listening socket resets them."""
        if self._resumption is not None:
            self._resumption.cancel()
        asyncio.get_running_loop().remove_reader(self._listener)
        with contextlib.suppress(OSError):
            while True:
                self._welcome(*self._listener.accept())
        self._listener.close()

    async def _let_finish(self, until: float) -> None:
        # Polls, as uvicorn has no event for it.
        while (self._opening or self.server_state.connections) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def _drain(self, until: float) -> None:
        """Closes idle connections, also those that have just completed their handshake, and the others with their answers."""
        while self.server_state.connections and time.monotonic() < until:
            for connection in list(self.server_state.connections):
                connection.shutdown()
            await asyncio.sleep(_POLL_S)

    def _cut_off(self) -> None:
        left: list[Any] = list(self.server_state.connections)
        if requests := sum(self._cut_off_one(connection) for connection in left):
            _log.warning("the time to stop is over: requests in flight were cut off", requests=requests)

    def _cut_off_one(self, connection: DownstreamProtocol) -> bool:
        """Ends the connection, and answers its request if it has no answer yet. Returns whether there was a request in flight."""
        cycle = connection.cycle
        if cycle is None or cycle.response_complete or cycle.response_started:
            connection.abort()
            return cycle is not None and not cycle.response_complete
        connection.transport.write(_head_of(_CUT_OFF, head_of(self.server_state.default_headers)) + _CUT_OFF.body)
        connection.transport.close()
        return True


def _refuse(connection: socket.socket, *, tls: bool) -> None:
    """Closes it with an answer, where that takes no handshake. Reading first what has arrived keeps the kernel from sending a reset."""
    if not tls:
        request = b""
        with contextlib.suppress(OSError):
            request = connection.recv(65536)
        with contextlib.suppress(OSError):
            connection.send(_HEAD_OF_REFUSAL if request.startswith(b"HEAD ") else _HEAD_OF_REFUSAL + _REFUSAL.body)
    connection.close()
