"""Records the requests of one process, as what is sent to the master: columns of numbers."""

from __future__ import annotations

import math
import time
import uuid
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from judge.requests import Request

_COLUMNS = 5


def machine() -> str:
    """Processes with the same value share a monotonic clock."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text("utf-8").strip() if boot.exists() else str(uuid.getnode())


def anchor() -> float:
    """What to add to the monotonic clock to get the time of day. The wall clock may step, and the monotonic one does not."""
    return time.time() - time.perf_counter()


class Recorder:
    """Requests by the name of their key and of their kind. Times are those of the monotonic clock."""

    def __init__(self, limits: int) -> None:
        self._nothing_stated = (math.nan,) * limits
        self._answered: dict[tuple[str, str], list[Request]] = defaultdict(list)
        self._in_flight: dict[Request, tuple[str, str]] = {}
        self._sent = 0
        self.closed = False

    def begin(self, key: str, what: str) -> Request:
        request = Request(time.perf_counter(), remaining=self._nothing_stated)
        self._in_flight[request] = key, what
        return request

    def end(self, request: Request, status: int) -> None:
        request.received, request.status = time.perf_counter(), status
        self._answered[self._in_flight.pop(request)].append(request)

    @property
    def idle(self) -> bool:
        return not self._in_flight

    def drain(self) -> dict[str, Any]:
        """What has been answered since the last call. `count` is the number of all requests so far."""
        answered, self._answered = self._answered, defaultdict(list)
        return self._message(answered)

    def close(self) -> dict[str, Any]:
        """Everything that is left, with the requests that are still in flight."""
        self.closed = True
        for request, kind in self._in_flight.items():
            self._answered[kind].append(request)
        self._in_flight = {}
        return self.drain() | {"final": True}

    def _message(self, answered: Mapping[tuple[str, str], list[Request]]) -> dict[str, Any]:
        self._sent += sum(map(len, answered.values()))
        batches = [[key, what, packed(requests)] for (key, what), requests in answered.items()]
        return {"machine": machine(), "anchor": anchor(), "now": time.time(), "count": self._sent, "batches": batches}


def packed(requests: Iterable[Request]) -> bytes:
    numbers = array("d")
    for each in requests:
        numbers.extend((each.sent, each.received, each.status, each.retry_after, each.capacity, *each.remaining))
    return numbers.tobytes()


def unpacked(data: bytes, limits: int, name: str, offset: float, tolerance: float) -> list[Request]:
    numbers = array("d")
    numbers.frombytes(data)
    width = _COLUMNS + limits
    return [
        Request(
            numbers[at] + offset - tolerance,
            numbers[at + 1] + offset + tolerance,
            int(numbers[at + 2]),
            numbers[at + 3],
            numbers[at + 4],
            tuple(numbers[at + _COLUMNS : at + width]),
            name,
            tolerance,
        )
        for at in range(0, len(numbers), width)
    ]
