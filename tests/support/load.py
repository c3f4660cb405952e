"""Load on a listener from a separate process: the response to each request, and its time.

`python load.py '{"url": ..., "rate": 500, ...}'` prints a JSON object at the end. Its `answers` are [begun, seconds, status, headers], by
the time they began (on the monotonic clock); `lost` are requests without a complete response, `refused` connections that were not
accepted.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT = ("ratelimit-policy", "x-ratelimit-degraded", "x-ratelimit-limit")


class Load:
    """Uses the `keys` in turn. Ends after `seconds`, or when connections are refused."""

    def __init__(self, url: str, rate: float, seconds: float, keys: list[str], connections: int = 32, path: str = "/authorize") -> None:
        host, _, port = url.partition("://")[2].partition(":")
        self._where = host, int(port)
        self._rate, self._seconds, self._connections = rate, seconds, connections
        self._requests = [f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n".encode() for key in keys]
        self._due: asyncio.Queue[bytes] = asyncio.Queue()
        self.result: dict = {"answers": [], "lost": [], "refused": 0}

    async def run(self) -> dict:
        senders = [asyncio.create_task(self._send()) for _ in range(self._connections)]
        began, sent = time.monotonic(), 0
        while time.monotonic() - began < self._seconds and not self.result["refused"]:
            while sent < (time.monotonic() - began) * self._rate:
                self._due.put_nowait(self._requests[sent % len(self._requests)])
                sent += 1
            await asyncio.sleep(0.002)
        if not self.result["refused"]:
            await self._due.join()
        for sender in senders:
            sender.cancel()
        await asyncio.wait(senders)
        return self.result

    async def _send(self) -> None:
        streams = None
        while True:
            request = await self._due.get()
            try:
                streams = streams or await asyncio.open_connection(*self._where)
            except OSError:
                self.result["refused"] += 1
            else:
                streams = await self._exchange(request, streams)
            self._due.task_done()

    async def _exchange(self, request: bytes, streams):
        reader, writer = streams
        began = time.monotonic()
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            status, headers = parse_head(head)
            await reader.readexactly(int(headers.get("content-length", 0)))
        except (OSError, asyncio.IncompleteReadError) as error:
            self.result["lost"].append(repr(error))
            return None
        self.result["answers"].append([began, time.monotonic() - began, status, {name: headers[name] for name in KEPT if name in headers}])
        if headers.get("connection") == "close":
            writer.close()
            return None
        return streams


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


class Running:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def report(self) -> dict:
        """Waits until the process ends by itself and returns its result."""
        output, _ = self._process.communicate(timeout=60)
        return json.loads(output)


@contextmanager
def load(**options) -> Iterator[Running]:
    process = subprocess.Popen([sys.executable, Path(__file__), json.dumps(options)], stdout=subprocess.PIPE)
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Load(**json.loads(sys.argv[1])).run())))  # noqa: T201 - read by the parent process
