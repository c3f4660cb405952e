"""A raw upstream for a proxy: the test sends and receives every byte."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import h11

PATIENCE = 20.0  # seconds until a test fails because something did not happen; not a measure of speed
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


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
