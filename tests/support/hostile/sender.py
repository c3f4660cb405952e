"""Fires volleys over many connections at once, and checks every reply."""

import asyncio
import re
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

import uvloop

from support.hostile.expected import Kind
from support.hostile.replies import Malformed, Replies, Reply, mistakes
from support.hostile.scene import TOTAL_CAPACITY
from support.hostile.volleys import SETTLED, Ending, Shot, Volley

# Where a broken request left the sidecar waiting for more: the connection is half-closed after this time, and no reply is required.
_QUIET_S = 0.1
# Then the sidecar must close the connection. Not a measure of speed.
_PATIENCE_S = 60.0
_MOST_FAILURES = 20
# The proxy sends these targets on as they are, so a reply shows whether it is the reply to this request.
_UNCHANGED = {Kind.GOOD, Kind.REFUSED, Kind.CREDENTIAL}
_LEFT = re.compile(r'"month";r=(\d+)').search
_OF_ACCOUNT = f"q={TOTAL_CAPACITY};"
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Report:
    """`statuses` counts replies by kind and status; `serials` are those of the replies of the upstream; `failures` is empty if all is well.

    `left` are the numbers of units that the quota of the account had left after each request that was admitted.
    """

    sent: int = 0
    unanswered: int = 0
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    serials: set[int] = field(default_factory=set)
    left: set[int] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    @property
    def replies(self) -> int:
        return sum(self.statuses.values())

    @property
    def shed(self) -> int:
        return sum(count for (_, status), count in self.statuses.items() if status == 503)

    def fail(self, what: str, volley: Volley, shot: Shot | None, reply: Reply | None = None) -> None:
        wire = b"".join(piece for stage in volley.stages for piece in stage) if shot is None else shot.wire
        kind = shot.kind.name if shot else "volley"
        text = f"volley {volley.number}, {kind}: {what}\n  sent {len(wire)} bytes: {wire[:1500]!r}"
        self.failures.append(text + (f"\n  received: {reply.raw[:800]!r}" if reply else ""))


def fire(port: int, volleys: Iterable[Volley], *, connections: int = 128) -> Report:
    """Runs its own event loop, and stops early after many failures."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(fire_async(port, volleys, connections=connections))


async def fire_async(port: int, volleys: Iterable[Volley], *, connections: int = 128) -> Report:
    report, left = Report(), iter(volleys)

    async def work() -> None:
        for volley in left:
            await _Exchange(volley, report).run(port)
            if len(report.failures) >= _MOST_FAILURES:
                return

    await asyncio.gather(*(work() for _ in range(connections)))
    return report


class _Exchange(asyncio.Protocol):
    """One volley. Collects bytes itself: a StreamReader drops them when the connection is reset."""

    def __init__(self, volley: Volley, report: Report) -> None:
        self._volley, self._report = volley, report
        self._replies, self._wake = Replies(), asyncio.Event()
        self._next, self._ended = 0, False
        self._transport: asyncio.Transport

    async def run(self, port: int) -> None:
        volley = self._volley
        self._report.sent += volley.requests
        # 127.0.0.1 is a trusted proxy of the sidecar; the other addresses of this machine are not.
        origin = "127.0.0.1" if volley.trusted else f"127.0.0.{2 + volley.number % 8}"
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", port, local_addr=(origin, 0))
        try:
            for last, stage in enumerate(volley.stages, 2 - len(volley.stages)):
                await self._send(stage)
                if not last:
                    await self._read_shots()
            await self._read()
        except Malformed as error:
            self._report.fail(str(error), volley, None)
        finally:
            self._transport.abort()

    async def _send(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            if self._transport.is_closing():
                return
            self._transport.write(piece)
            await asyncio.sleep(0)

    async def _read_shots(self) -> None:
        while not self._ended and self._next < len(self._volley.shots):
            if not await self._more(_PATIENCE_S):
                self._report.fail("no reply", self._volley, self._shot())
                return

    async def _read(self) -> None:
        if self._volley.ending is Ending.CUT:
            if not self._ended:
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return
        if self._volley.ending is Ending.HALF_CLOSE:
            self._half_close()
        while not self._ended and not self._is_complete():
            if not await self._more(_QUIET_S if self._volley.broken else _PATIENCE_S):
                if self._volley.broken is None:
                    self._report.fail("no reply", self._volley, self._shot())
                    return
                self._half_close()
                break
        await self._finish()

    async def _finish(self) -> None:
        """Most connections end here. Of some, everything that the sidecar still sends is read."""
        if not self._ended and (self._volley.broken or self._volley.number % 8 == 0):
            self._half_close()
            while not self._ended:
                if not await self._more(_PATIENCE_S):
                    self._report.fail("the connection stays open after its end", self._volley, None)
                    return
        if self._is_complete() and self._volley.broken is None and self._replies.rest:
            self._report.fail(f"more replies than requests: {self._replies.rest[:200]!r}", self._volley, None)
        elif not self._is_complete():
            self._note_unanswered()

    def _note_unanswered(self) -> None:
        """If the client neither ended the connection nor gave a reason to end it, each request must be answered."""
        volley = self._volley
        self._report.unanswered += len(volley.shots) - min(self._next, len(volley.shots))
        if volley.ending is Ending.READ and volley.broken is None and all(shot.kind in SETTLED for shot in volley.shots):
            self._report.fail(f"closed after {self._next} of {len(volley.shots)} replies", volley, self._shot())

    def _is_complete(self) -> bool:
        return self._volley.broken is None and self._next >= len(self._volley.shots)

    def _shot(self) -> Shot | None:
        shots = self._volley.shots
        return shots[self._next] if self._next < len(shots) else self._volley.broken

    async def _more(self, patience: float) -> bool:
        """Waits for bytes and takes the replies in them. False if nothing arrives."""
        try:
            async with asyncio.timeout(patience):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        while (shot := self._shot()) is not None and (reply := self._replies.take(shot.method)) is not None:
            self._note(shot, reply)
            if reply.closes:
                # The rest of the volley is lost with the connection.
                self._next = len(self._volley.shots) + 1 if self._volley.broken is None else self._next
        return True

    def _note(self, shot: Shot, reply: Reply) -> None:
        self._next += 1
        report = self._report
        report.statuses[shot.kind.name, reply.status] += 1
        for mistake in mistakes(reply, self._volley.allowed[shot.kind], shot.method):
            report.fail(mistake, self._volley, shot, reply)
        if reply.status == 200 and (left := _LEFT(reply.headers.get("ratelimit", ""))) and _OF_ACCOUNT in reply.headers["ratelimit-policy"]:
            if int(left[1]) in report.left:
                report.fail("two admitted requests left the same number of units", self._volley, shot, reply)
            report.left.add(int(left[1]))
        if serial := reply.headers.get("x-serial"):
            if int(serial) in report.serials:
                report.fail("a reply of the upstream was delivered twice", self._volley, shot, reply)
            report.serials.add(int(serial))
            if shot.kind in _UNCHANGED and int(reply.headers["x-target"]) != crc32(shot.target):
                report.fail("the reply to another request", self._volley, shot, reply)

    def _half_close(self) -> None:
        if not self._ended and not self._transport.is_closing():
            self._transport.write_eof()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._replies.feed(data)
        self._wake.set()

    def eof_received(self) -> bool:
        self._ended = True
        self._replies.end()
        self._wake.set()
        return True

    def connection_lost(self, _: Exception | None) -> None:
        self._ended = True
        self._replies.end()
        self._wake.set()
