"""The API behind a gateway: echoes, streams, uploads and WebSocket, with rate limit headers of its own."""

import base64
import threading
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from support.proxy.raw_upstream import PATIENCE

_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
OWN = {"X-RateLimit-Remaining": "999", "RateLimit": '"api";r=999'}


class Api:
    """Answers with the method, the path and the body.

    `/stream` sends its second part after `go` is set. `/upload` sets `arrived` when the first bytes of a body have arrived.
    `/websocket` sends frames back. `requests` counts the requests; `received` is the headers of the last one.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.received: list[tuple[str, str]] = []
        self.go, self.arrived = threading.Event(), threading.Event()
        self._server = _Server(self)
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: Api) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api

    def handle_error(self, *_) -> None:
        """A gateway may close its connections at any time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def api(self) -> Api:
        return self.server.api

    def answer(self) -> None:
        self.api.requests += 1
        self.api.received = self.headers.items()
        if self.path == "/websocket":
            self.websocket()
        elif self.path == "/stream":
            self.stream()
        else:
            body = self.body()
            self.head(200, {"Content-Length": str(len(body))})
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_OPTIONS = answer  # noqa: N815 - the names that http.server calls

    def body(self) -> bytes:
        received = self.chunked() if self.headers.get("Transfer-Encoding") else self.known(int(self.headers.get("Content-Length", 0)))
        return str(len(received)).encode() if self.path == "/upload" else f"{self.command} {self.path}".encode() + received

    def known(self, length: int) -> bytes:
        first = self.rfile.read(min(length, 1))
        self.note()
        return first + self.rfile.read(length - len(first))

    def chunked(self) -> bytes:
        received = b""
        while size := int(self.rfile.readline(), 16):
            self.note()
            received += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return received

    def note(self) -> None:
        if self.path == "/upload":
            self.api.arrived.set()

    def stream(self) -> None:
        self.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        self.wfile.write(b"d\r\ndata: first\n\n\r\n")
        self.api.go.wait(PATIENCE)
        self.wfile.write(b"e\r\ndata: second\n\n\r\n0\r\n\r\n")

    def websocket(self) -> None:
        accept = base64.b64encode(sha1(self.headers["Sec-WebSocket-Key"].encode() + _WEBSOCKET).digest())  # noqa: S324 - RFC 6455
        self.head(101, {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept.decode()})
        # Frames of five bytes, masked with zeros.
        while frame := self.rfile.read(11):
            self.wfile.write(b"\x81\x05" + frame[6:])
        self.close_connection = True

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, **OWN}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_) -> None:
        """Be quiet."""
