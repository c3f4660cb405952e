"""The upstream of a proxy under attack. It accepts exactly what RFC 9112 defines, and counts the requests that reach it, by key."""

import asyncio
import re
import threading
from collections import Counter
from typing import Self
from zlib import crc32

import uvloop

_HEAD = re.compile(rb"([A-Z-]+) ([!-~]+) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[\t -~\x80-\xff]*\r\n)*)\r\n").fullmatch
_CHUNK = re.compile(rb"([0-9a-f]{1,8})\r\n").match


class Refused(Exception):
    """The proxy sent something that is not one well-formed request."""


class Recorder:
    """`by_key` counts requests by the credential that they carry, `refused` has what is not a request, and `serial` is their number."""

    def __init__(self) -> None:
        self.by_key: Counter[bytes] = Counter()
        self.refused: list[str] = []
        self.serial = self.port = 0
        self.peers: set[asyncio.Transport] = set()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._thread = threading.Thread(target=self._run)
        self._started = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(30)
        return self

    def __exit__(self, *_) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(30)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: _Peer(self), "127.0.0.1", 0, backlog=1000)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopping.wait()
        server.close()
        for peer in list(self.peers):
            peer.abort()
        await server.wait_closed()


class _Peer(asyncio.Protocol):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self._buffer = recorder, bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._recorder.peers.add(self._transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._recorder.peers.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while self._take():
                pass
        except Refused as error:
            self._recorder.refused.append(f"{error}: {bytes(self._buffer[:500])!r}")
            self._transport.abort()

    def _take(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        found = _HEAD(bytes(self._buffer[: end + 4]))
        if not found:
            raise Refused("not the head of a request")
        headers = _headers(found[3])
        after = self._end_of_body(end + 4, headers)
        if after is None:
            return False
        if len(self._buffer) > after:
            raise Refused("bytes after the request, before its reply")
        self._buffer.clear()
        self._reply(found[1], found[2], headers)
        return True

    def _end_of_body(self, at: int, headers: dict[bytes, bytes]) -> int | None:
        if b"transfer-encoding" not in headers:
            end = at + int(headers.get(b"content-length", b"0"))
            return end if len(self._buffer) >= end else None
        while found := _CHUNK(self._buffer, at):
            size, at = int(found[1], 16), found.end()
            if len(self._buffer) < at + size + 2:
                return None
            if self._buffer[at + size : at + size + 2] != b"\r\n":
                raise Refused("a chunk that is not as long as it says")
            at += size + 2
            if size == 0:
                return at
        if len(self._buffer) > at + 10:
            raise Refused("not a chunk")
        return None

    def _reply(self, method: bytes, target: bytes, headers: dict[bytes, bytes]) -> None:
        recorder = self._recorder
        recorder.serial += 1
        recorder.by_key[_key(headers)] += 1
        named = b"X-Serial: %d\r\nX-Target: %d\r\n" % (recorder.serial, crc32(target))
        match recorder.serial % 5:
            case 0:
                reply = (
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                    + named
                    + b"\r\n"
                    + (b"" if method == b"HEAD" else b"2\r\nok\r\n0\r\n\r\n")
                )
            case 1:
                own = b"X-RateLimit-Limit: 7\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n"
                reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + own + named + b"\r\n"
            case _:
                reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + named + b"\r\n" + (b"" if method == b"HEAD" else b"ok")
        self._transport.write(reply)


def _headers(lines: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    hosts = 0
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in found and name in (b"content-length", b"transfer-encoding"):
            raise Refused(f"{name.decode()} twice")
        hosts += name == b"host"
        found.setdefault(name, value.strip(b" \t"))
    if hosts != 1:
        raise Refused(f"{hosts} Host headers")
    if b"transfer-encoding" in found and (b"content-length" in found or found[b"transfer-encoding"] != b"chunked"):
        raise Refused("an ambiguous length")
    if not found.get(b"content-length", b"0").isdigit():
        raise Refused("a length that is not a number")
    return found


def _key(headers: dict[bytes, bytes]) -> bytes:
    """As the sidecar reads it: the bearer, or else X-API-Key."""
    bearer = headers.get(b"authorization", b"")
    return bearer[7:].strip() if bearer[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
