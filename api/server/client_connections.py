"""The connections of one listener: how many may be open, and how long each may wait for its client.

A request leaves no timestamps. `sweep` looks at every connection once a second, remembers what it saw, and ends those on which the same
thing has been awaited for too long. So a bound takes effect up to a second late, and costs a request nothing.
"""

import asyncio
import ctypes
import resource
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from operator import itemgetter

import structlog

from limiter.addresses import subject_of
from limiter.api.proxy.downstream import DownstreamProtocol
from limiter.api.proxy.inflow import Part
from limiter.api.rules import ConnectionBounds

_log = structlog.get_logger("limiter.connections")

SWEEP_S = 1.0
# How soon all connections are weighed after one of them holds much, and the share of the time that this may take: 4,000 take 10 ms.
WEIGH_S, _SHARE = 0.1, 0.05
# A body that is sent, and an answer that is read, slower than this for long runs out of time.
SLOWEST = 240  # bytes per second
# The most connections of the admin listener.
ADMIN_MOST = 64
# Descriptors for everything but the front's connections: the admin listener's, those to Redis, logs, the listeners themselves.
_RESERVED = ADMIN_MOST + 64
_FEWEST = 16
_MUCH = 4 * 1024 * 1024
# Other C libraries do not have it.
_trim: Callable[[int], object] = getattr(ctypes.CDLL(None), "malloc_trim", int)


def raise_descriptor_limit() -> None:
    """Raises the limit of open descriptors to the most that this process may set. Processes that it starts inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def room_for(*, each: int = 1) -> int:
    """How many connections the limit of descriptors allows the front if it needs this many descriptors for `each` of them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_FEWEST, (soft - _RESERVED) // each)


class Pace:
    """A deadline that moves with progress: at most `limit` seconds ahead, and by a second for every SLOWEST bytes."""

    __slots__ = ("_count", "_due")

    def __init__(self) -> None:
        self._count, self._due = 0, 0.0

    def start(self, count: int, now: float, limit: float) -> None:
        self._count, self._due = count, now + limit

    def is_late(self, count: int, now: float, limit: float) -> bool:
        self._due = min(now + limit, self._due + max(0, count - self._count) / SLOWEST)
        self._count = count
        return now >= self._due


class Watch:
    """What the last sweep saw on a connection. `handshake` is the task that accepts it, if it begins with a handshake of TLS."""

    __slots__ = ("_awaited", "_is_sending", "_moved", "_reading", "_sending", "_turn", "handshake", "is_exempt", "peer", "since")

    def __init__(self, peer: str, handshake: asyncio.Task[None] | None, now: float, *, is_exempt: bool) -> None:
        self.peer, self.handshake, self.since, self.is_exempt = peer, handshake, now, is_exempt
        self._awaited: Part | None = Part.REQUEST
        self._turn, self._is_sending, self._moved = 0, False, 0
        self._reading, self._sending = Pace(), Pace()

    def end(self, connection: DownstreamProtocol) -> None:
        if connection.is_connected:
            connection.abort()
        elif self.handshake is not None:
            self.handshake.cancel()
        # Without TLS, it opens in this turn of the event loop, and the listener aborts it then. Its task must not be cancelled, because
        # uvloop would not report the end of the connection.

    def look(self, connection: DownstreamProtocol, bounds: ConnectionBounds, now: float) -> None:
        """Ends the connection if its client has kept it waiting for too long."""
        if self._is_unread(connection, bounds, now):
            connection.abort()
        elif not connection.transport.is_closing() and self._is_awaited(connection, bounds, now):
            connection.time_out(connection.awaited or Part.REQUEST)

    def progress(self, connection: DownstreamProtocol) -> int:
        """How many bytes of answers and bodies have moved since the last call."""
        before, self._moved = self._moved, connection.sent + connection.received
        return self._moved - before

    def _is_unread(self, connection: DownstreamProtocol, bounds: ConnectionBounds, now: float) -> bool:
        was_sending, self._is_sending = self._is_sending, connection.unsent > 0
        if self._is_sending and was_sending:
            return self._sending.is_late(connection.sent, now, bounds.answer)
        self._sending.start(connection.sent, now, bounds.answer)
        return False

    def _is_awaited(self, connection: DownstreamProtocol, bounds: ConnectionBounds, now: float) -> bool:
        awaited, turn = connection.awaited, connection.turns
        if awaited is not self._awaited or turn != self._turn:
            self._awaited, self._turn, self.since = awaited, turn, now
            self._reading.start(connection.received, now, bounds.body)
            return False
        if awaited is Part.BODY:
            return self._reading.is_late(connection.received, now, bounds.body)
        if awaited is None:
            return False
        return now - self.since >= (bounds.idle if awaited is Part.REQUEST and turn else bounds.head)


class Connections:
    """`bounds` returns those in force. `room` is how many connections the descriptors allow. `is_exempt(address)` says whether a peer
    may open more than `per_peer`."""

    def __init__(self, bounds: Callable[[], ConnectionBounds], *, room: int, is_exempt: Callable[[str], bool]) -> None:
        self._bounds, self._room, self._is_exempt = bounds, room, is_exempt
        self._open: dict[DownstreamProtocol, Watch] = {}
        self._of_peer: Counter[str] = Counter()
        # Those that can be ended for a new one, of one peer or of all, the first to go first. Looking for them costs a look at every
        # connection. So between two sweeps it is done again only after it has found many.
        self._spare: dict[str | None, deque[DownstreamProtocol]] = {}
        self._exhausted: set[str | None] = set()
        # What the next sweep logs.
        self._refused = self._ended = self._given_up = 0
        self._most_held = 0
        self._error: OSError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._weighing: asyncio.TimerHandle | None = None
        self._weigh_pause = WEIGH_S

    def __contains__(self, connection: DownstreamProtocol) -> bool:
        return connection in self._open

    def __len__(self) -> int:
        return len(self._open)

    @property
    def most(self) -> int:
        return min(self._bounds().most, self._room)

    @property
    def head_timeout(self) -> float:
        return self._bounds().head

    def admit(self, address: str) -> bool:
        """Whether a new connection of this peer may be opened. One that waits for its client may have been ended for it."""
        peer = subject_of(address)
        if self._of_peer[peer] >= self._bounds().per_peer and not self._is_exempt(address):
            admitted = self._end_one(peer)
        else:
            admitted = len(self._open) < self.most or self._end_one(None)
        self._refused += not admitted
        return admitted

    def add(self, connection: DownstreamProtocol, address: str, handshake: asyncio.Task[None] | None) -> None:
        peer, now = subject_of(address), asyncio.get_running_loop().time()
        self._open[connection] = Watch(peer, handshake, now, is_exempt=self._is_exempt(address))
        self._of_peer[peer] += 1
        connection.on_full, connection.on_lost = self._weigh_soon, partial(self.remove, connection)

    def remove(self, connection: DownstreamProtocol) -> None:
        watch = self._open.pop(connection, None)
        if watch is None:
            return
        self._of_peer[watch.peer] -= 1
        if not self._of_peer[watch.peer]:
            del self._of_peer[watch.peer]

    def report(self, error: OSError) -> None:
        """A connection could not be accepted. The next sweep logs the last error."""
        self._error = error

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def stop(self) -> None:
        for timer in (self._timer, self._weighing):
            if timer is not None:
                timer.cancel()

    def _sweep(self) -> None:
        self.start()
        self._spare.clear()
        self._exhausted.clear()
        self._report()
        bounds, now = self._bounds(), asyncio.get_running_loop().time()
        for connection, watch in list(self._open.items()):
            if connection.is_connected:
                watch.look(connection, bounds, now)
        self._weigh_soon()

    def _weigh_soon(self) -> None:
        """When a connection holds much, because others could join it before the next sweep, and in each sweep. Never at once: what moves
        between two looks shows which connections are stuck."""
        if self._weighing is None:
            self._weighing = asyncio.get_running_loop().call_later(self._weigh_pause, self._weigh)

    def _weigh(self) -> None:
        """Ends connections, until the others hold no more together than they may. Those go first on which the least has moved since the
        last look, and of these the ones that hold most."""
        self._weighing, began = None, time.monotonic()
        weighed = [(watch.progress(each), -each.held, each) for each, watch in self._open.items() if each.is_connected]
        self._weigh_pause = max(WEIGH_S, (time.monotonic() - began) / _SHARE)
        total = -sum(held for _, held, _ in weighed)
        self._give_back(total)
        surplus = total - self._bounds().held
        if surplus <= 0:
            return
        for _, held, connection in sorted(weighed, key=itemgetter(0, 1)):
            if surplus <= 0:
                break
            if held:
                connection.give_up()
                surplus += held
                self._given_up += 1

    def _give_back(self, held: int) -> None:
        """Returns freed memory to the operating system, after much less is held than before. By itself, glibc keeps it."""
        self._most_held = max(self._most_held, held)
        if self._most_held - held > _MUCH:
            self._most_held = held
            _trim(0)

    def _report(self) -> None:
        if self._refused or self._ended:
            _log.warning("too many connections", open=len(self), most=self.most, refused=self._refused, ended=self._ended)
        if self._error is not None:
            _log.error("cannot accept connections: raise the limit of open files or lower connections.most", reason=str(self._error))
        if self._given_up:
            _log.warning("connections ended, because all together held too much", most=self._bounds().held, ended=self._given_up)
        self._refused = self._ended = self._given_up = 0
        self._error = None

    def _end_one(self, peer: str | None) -> bool:
        """Ends the connection that has waited longest for a request or its head. Those of peers with many connections go first, and
        those of exempt peers last."""
        spare = self._spare.get(peer)
        if spare is None or (not spare and peer not in self._exhausted):
            spare = self._spare[peer] = deque(sorted(self._waiting(peer), key=self._order))
            if len(spare) < len(self._open) // 8:
                self._exhausted.add(peer)
        while spare:
            connection = spare.popleft()
            watch = self._open.get(connection)
            if watch is not None and _can_end(connection):
                self._ended += 1
                self.remove(connection)
                watch.end(connection)
                return True
        return False

    def _waiting(self, peer: str | None) -> list[DownstreamProtocol]:
        return [each for each, watch in self._open.items() if peer in (None, watch.peer) and _can_end(each)]

    def _order(self, connection: DownstreamProtocol) -> tuple[bool, int, float]:
        watch = self._open[connection]
        return watch.is_exempt, -self._of_peer[watch.peer], watch.since


def admin_connections(idle: float) -> Connections:
    bounds = ConnectionBounds(most=ADMIN_MOST, idle=idle)
    return Connections(lambda: bounds, room=ADMIN_MOST, is_exempt=lambda _: True)


def _can_end(connection: DownstreamProtocol) -> bool:
    """Whether neither a complete request nor an answer would be lost."""
    if not connection.is_connected:
        return True
    return connection.awaited in (Part.REQUEST, Part.HEAD) and not connection.unsent
