"""A proxy under a real uvicorn."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

import h11
import uvicorn

from limiter.api.proxy.app import Proxy
from limiter.api.proxy.downstream import DownstreamProtocol

PATIENCE = 20.0  # seconds until a test fails because something did not happen; not a measure of speed
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SETTINGS = {"http": DownstreamProtocol, "ws": "none", "proxy_headers": False, "server_header": False, "date_header": False}


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.005)


class PromptServer(uvicorn.Server):
    """A uvicorn server that stops at once, and not at the next tenth of a second."""

    async def main_loop(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._stop.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    @property
    def port(self) -> int:
        return self.servers[0].sockets[0].getsockname()[1]


@contextmanager
def serving(app, **settings) -> Iterator[int]:
    """`app` under uvicorn in a thread; yields its port."""
    config = uvicorn.Config(app, port=0, loop="uvloop", log_level="critical", timeout_graceful_shutdown=5, **{**SETTINGS, **settings})
    server = PromptServer(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "uvicorn to start")
        yield server.port
    finally:
        server.stop()
        thread.join(PATIENCE)


@contextmanager
def proxying(url: str, *, headers=(), trusts=lambda _: False, server=None, **options) -> Iterator[int]:
    """A proxy to `url` that sets `headers`; yields its port."""
    proxy = Proxy(url, trusts=trusts, **options)

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await _close_at_the_end(proxy, receive, send)
        else:
            await proxy(scope, receive, send, headers)

    with serving(app, **(server or {})) as port:
        yield port


async def _close_at_the_end(proxy: Proxy, receive, send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await proxy.close()
    await send({"type": "lifespan.shutdown.complete"})


@contextmanager
def proxy_process(url: str) -> Iterator[tuple[int, int]]:
    """A proxy to `url` in a separate process; yields its port and its pid."""
    code = (
        "import json, sys, uvicorn; from support.proxying import SETTINGS; from limiter.api.proxy.app import Proxy;"
        "s = __import__('socket').create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True);"
        "c = uvicorn.Config(Proxy(sys.argv[1], trusts=lambda _: False), loop='uvloop', log_level='critical', **SETTINGS);"
        "uvicorn.Server(c).run(sockets=[s])"
    )
    path = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
    process = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True, env=path)
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@dataclass
class Seen:
    """A request as the upstream received it, parsed strictly by h11."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]


class Peer:
    """The upstream's end of a connection. `received` has every byte that arrived."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.closed = threading.Event()
        self._reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)

    def recv(self, size: int = 65536) -> bytes:
        try:
            data = self.sock.recv(size)
        except ConnectionError:
            data = b""
        self.received += data
        if not data:
            self.closed.set()
        return data

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def head(self) -> h11.Request | None:
        event = self._event()
        return event if isinstance(event, h11.Request) else None

    def body(self) -> bytes:
        parts = []
        while not isinstance(event := self._event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data), f"upstream expected a body and got {event}"
            parts.append(bytes(event.data))
        assert not event.headers, "upstream got trailers"
        return b"".join(parts)

    def request(self) -> Seen | None:
        head = self.head()
        if head is None:
            return None
        seen = Seen(head.method, head.target, list(head.headers), self.body())
        self._reader = _next_reader(self._reader)
        return seen

    def wait_for_close(self) -> None:
        while self.recv():
            pass

    def _event(self):
        while (event := self._reader.next_event()) is h11.NEED_DATA:
            self._reader.receive_data(self.recv())
        return event


def _next_reader(reader: h11.Connection) -> h11.Connection:
    fresh = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    if rest := reader.trailing_data[0]:
        fresh.receive_data(rest)
    return fresh


@dataclass
class Upstream:
    """Listens on loopback and runs `script(peer)` for each connection in a separate thread."""

    script: Callable[[Peer], None]
    peers: list[Peer] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, kind, *_) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for peer in self.peers:
            _hang_up(peer.sock)
        for thread in self._threads:
            thread.join(PATIENCE)
        for peer in self.peers:
            peer.sock.close()
        self._listener.close()
        if kind is None and self.errors:
            raise self.errors[0]

    @property
    def received(self) -> bytes:
        return b"".join(bytes(peer.received) for peer in self.peers)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE)
            self.peers.append(Peer(sock))
            self._threads.append(threading.Thread(target=self._serve, args=[self.peers[-1]]))
            self._threads[-1].start()

    def _serve(self, peer: Peer) -> None:
        try:
            self.script(peer)
        except (ConnectionError, h11.RemoteProtocolError):
            peer.closed.set()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
            self.errors.append(error)
        finally:
            _hang_up(peer.sock)


def _hang_up(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def answering(*responses: bytes, seen: list[Seen] | None = None) -> Upstream:
    """An upstream that sends the next response to each request, and repeats the last one."""
    left = list(responses or [OK])

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            if seen is not None:
                seen.append(request)
            peer.send(left.pop(0) if len(left) > 1 else left[0])

    return Upstream(script)


class Truncated(Exception):
    """The response ended before it was complete."""


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    @property
    def problem(self) -> dict:
        assert self.values(b"content-type") == [b"application/problem+json"], self.body
        return json.loads(self.body)


class Client:
    """A raw client, which sends any bytes and parses responses strictly."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._file = self.sock.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
        self.sock.close()

    def send(self, data: bytes) -> "Client":
        self.sock.sendall(data)
        return self

    def head(self) -> Answer:
        version, status, *_ = self._line().split(b" ", 2)
        assert version == b"HTTP/1.1"
        headers = []
        while line := self._line():
            name, _, value = line.partition(b":")
            headers.append((name.lower(), value.strip()))
        return Answer(int(status), headers)

    def answer(self, method: str = "GET") -> Answer:
        answer = self.head()
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        if answer.values(b"transfer-encoding") == [b"chunked"]:
            answer.body = b"".join(iter(self.chunk, b""))
        elif lengths := answer.values(b"content-length"):
            answer.body = self.read(int(lengths[0]))
        else:
            answer.body = self._file.read()
        return answer

    def chunk(self) -> bytes:
        data = self.read(int(self._line(), 16))
        assert self._line() == b""
        return data

    def discard(self, size: int, *, watch: Callable[[], object]) -> None:
        """Reads and discards `size` bytes. Calls `watch` after each chunk."""
        buffer = memoryview(bytearray(4 << 20))
        while size:
            count = self._file.readinto(buffer[:size])
            if not count:
                raise Truncated
            size -= count
            watch()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise Truncated
        return data

    @property
    def at_end(self) -> bool:
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise Truncated
        return line[:-2]


def get(port: int, target: str = "/", *lines: str, method: str = "GET") -> Answer:
    with Client(port) as client:
        return client.send(request(target, *lines, method=method)).answer(method)


def request(target: str = "/", *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    head = [f"{method} {target} HTTP/1.1", "Host: api.test", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
