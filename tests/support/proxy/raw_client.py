"""A raw HTTP client: the test sends every byte, and responses are parsed strictly."""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from support.proxy.raw_upstream import PATIENCE


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
    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0))
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
