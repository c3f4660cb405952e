"""A load generator that uses less CPU than the servers: keep-alive connections on one epoll, with prepared requests.

It runs in a separate process. Each connection has one request in flight.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_GIVE_UP_S = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """The requests of one turn."""

    port: int
    requests: Sequence[bytes]
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Answers:
    """Responses a second, percentiles of the latency, and the number of responses by status."""

    rate: float
    p50_ms: float
    p99_ms: float
    statuses: Counter[str]


class Connection:
    """A socket, and the part of a response that has arrived."""

    __slots__ = ("asked_ns", "buffer", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_GIVE_UP_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.asked_ns = 0

    def ask(self, request: bytes) -> None:
        self.asked_ns = time.perf_counter_ns()
        self.socket.send(request)

    def answer(self) -> bytes | None:
        """Returns the status once the response is complete."""
        received = self.socket.recv(65536)
        if not received:
            raise ConnectionError("the server closed a connection during a request")
        self.buffer += received
        head = self.buffer.find(_HEAD_END)
        if head < 0:
            return None
        length = _LENGTH.search(self.buffer, 0, head)
        if length is None:
            raise ValueError(f"a response must have a Content-Length: {self.buffer[:head]!r}")
        if len(self.buffer) < head + len(_HEAD_END) + int(length[1]):
            return None
        status, self.buffer = self.buffer[9:12], b""
        return status


def run(load: Load) -> Answers:
    connections = [Connection(load.port) for _ in range(load.connections)]
    try:
        return _asking(connections, load)
    finally:
        for connection in connections:
            connection.socket.close()


def _asking(connections: list[Connection], load: Load) -> Answers:
    poll, requests = select.epoll(), cycle(load.requests)
    by_number = {connection.socket.fileno(): connection for connection in connections}
    waits: list[int] = []
    statuses: Counter[bytes] = Counter()
    for number, connection in by_number.items():
        poll.register(number, select.EPOLLIN)
        connection.ask(next(requests))
    started = time.perf_counter_ns()
    until = started + int(load.seconds * 1e9)
    now = started
    while now < until:
        ready = poll.poll(_GIVE_UP_S)
        if not ready:
            raise TimeoutError(f"no response within {_GIVE_UP_S:g} s")
        for number, _ in ready:
            connection = by_number[number]
            status = connection.answer()
            if status is None:
                continue
            now = time.perf_counter_ns()
            waits.append(now - connection.asked_ns)
            statuses[status] += 1
            connection.ask(next(requests))
    poll.close()
    return _summed_up(waits, statuses, now - started)


def _summed_up(waits: list[int], statuses: Counter[bytes], spent_ns: int) -> Answers:
    waits.sort()
    p50, p99 = (waits[len(waits) * percent // 100] / 1e6 for percent in (50, 99))
    return Answers(len(waits) / spent_ns * 1e9, p50, p99, Counter({status.decode(): number for status, number in statuses.items()}))
