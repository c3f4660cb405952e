"""Attacks on a sidecar: many connections at once that ask with one key, and a good client beside them.

Other attacks can be added as coroutines that call `Attack.note` for each response.
"""

import asyncio
import json
import os
import resource
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from support.servers.sidecar import Sidecar

# Time for everything that a flood does; a busy machine needs some of it.
_PATIENCE_S = 60


def raise_descriptor_limit() -> None:
    """Before a sidecar starts, which inherits the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Attack:
    """`statuses` counts the responses, and `remaining` has X-RateLimit-Remaining of those with 200."""

    def __init__(self, port: int, path: str, key: str) -> None:
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {key}\r\n\r\n".encode()
        self.statuses: Counter[int] = Counter()
        self.remaining: list[int] = []
        self.unclean: list[str] = []

    async def flood(self, connections: int, each: int) -> None:
        """Opens all connections, and then sends `each` pipelined requests on every one of them."""
        streams = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(connections)]
        for _, writer in streams:
            writer.write(self._request * each)
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.gather(*(self._read(reader, each) for reader, _ in streams))
        await _close(*(writer for _, writer in streams))

    async def ask_until(self, over: asyncio.Event) -> None:
        """One request after the other on one connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        async with asyncio.timeout(_PATIENCE_S):
            while not over.is_set():
                writer.write(self._request)
                await self._read(reader, 1)
                await asyncio.sleep(0.01)
        await _close(writer)

    def note(self, head: bytes, body: bytes) -> None:
        status, headers = int(head[9:12]), dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
        self.statuses[status] += 1
        if status == 200 and "x-ratelimit-remaining" in headers:
            self.remaining.append(int(headers["x-ratelimit-remaining"]))
        elif status == 503 and ("x-ratelimit-degraded" in headers or headers.get("retry-after") != "1"):
            self.unclean.append(head.decode())
        elif status == 503:
            self.unclean += [] if json.loads(body)["type"].endswith("#temporary-reduced-capacity") else [body.decode()]
        elif status != 429:
            self.unclean.append(head.decode())

    async def _read(self, reader: asyncio.StreamReader, number: int) -> None:
        for _ in range(number):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self.note(head, await reader.readexactly(length))


async def _close(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


@asynccontextmanager
async def blocked(running: Sidecar, seconds: float = 0.2, every: float = 0.3) -> AsyncIterator[None]:
    """Stops the process again and again for a moment, which its event loop cannot tell from a callback that blocks it."""

    async def block() -> None:
        while True:
            await asyncio.sleep(every)
            running.send(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            running.send(signal.SIGCONT)

    blocking = asyncio.create_task(block())
    try:
        yield
    finally:
        blocking.cancel()
        running.send(signal.SIGCONT)


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    """An API that answers every request with 200. End its clients first."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await _close(*writers)


def memory_mib(running: Sidecar) -> float:
    return int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
