"""The records of all workers, put together."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from judge.ledger import Ledger, Ledgers
from judge.requests import Request

from users.plan import Key, Limits
from users.recorder import anchor, machine, unpacked


@dataclass(slots=True)
class Source:
    """What one worker has sent. `apart` is the time between its clock and ours at the least: a message takes time to arrive."""

    batches: list[tuple[str, str, bytes]] = field(default_factory=list)
    machine: str = ""
    anchor: float = 0.0
    received: int = 0
    count: int = 0
    final: bool = False
    error: str = ""
    apart: float = float("inf")
    # Of a core, in the busiest second, and the longest time by which a timer was late.
    cpu: float = 0.0
    late: float = 0.0

    def add(self, message: Mapping[str, Any], limits: int) -> None:
        self.machine, self.anchor = message.get("machine", ""), message.get("anchor", 0.0)
        self.count = message.get("count", self.count)
        self.final, self.error = self.final or message.get("final", False), message.get("error", "") or self.error
        self.cpu, self.late = max(self.cpu, message.get("cpu", 0.0)), max(self.late, message.get("late", 0.0))
        if "now" in message:
            self.apart = min(self.apart, time.time() - message["now"], key=abs)
        for key, what, data in message.get("batches", ()):
            self.batches.append((key, what, data))
            self.received += len(data) // (8 * (5 + limits))


class Collected:
    """`limits` are those of a key and its account, which all keys of a test have in common."""

    def __init__(self, limits: Limits, tolerance: float) -> None:
        self._limits, self._tolerance = limits, tolerance
        self._machine, self._anchor = machine(), anchor()
        self.sources: dict[str, Source] = {}

    def expect(self, source: str) -> None:
        self.sources.setdefault(source, Source())

    def add(self, source: str, message: Mapping[str, Any]) -> None:
        self.expect(source)
        self.sources[source].add(message, len(self._limits.all))

    def complete(self) -> bool:
        return all(source.final for source in self.sources.values())

    def mistrusted(self) -> Iterator[str]:
        """Why the requests do not suffice for a judgement."""
        for name, source in self.sources.items():
            if source.error:
                yield f"{name} reported: {source.error}"
            elif not source.final or source.received != source.count:
                yield f"{name} ended without sending all of its records"
            elif self._is_elsewhere(source) and abs(source.apart) > self._tolerance:
                direction = "behind" if source.apart > 0 else "ahead"
                yield (
                    f"the clock of {name} is about {abs(source.apart):.2f} s {direction}: synchronize the clocks, "
                    f"or set --clock-tolerance above that (it is {self._tolerance:g} s)"
                )

    def notes(self) -> Iterator[str]:
        for name, source in self.sources.items():
            if source.cpu >= 0.9 or source.late >= 0.25:
                yield (
                    f"The load generator was a bottleneck: {name} used up to {source.cpu:.0%} of a core, and its timers were up to "
                    f"{source.late * 1000:.0f} ms late. Response times include its own delays: use more workers, or an idle machine. "
                    "The limits are judged by when requests were sent and responses received, so the verdict on them is still right."
                )
        if any(self._is_elsewhere(source) for source in self.sources.values()):
            yield f"Some workers ran on other machines, so each of their times is taken to be wrong by up to {self._tolerance:g} s."

    def ledgers(self, keys: Sequence[Key]) -> list[Ledgers]:
        requests: dict[str, list[Request]] = defaultdict(list)
        for source in self.sources.values():
            elsewhere = self._is_elsewhere(source)
            offset, tolerance = (source.anchor, self._tolerance) if elsewhere else (self._anchor, 0.0)
            for key, what, data in source.batches:
                requests[key] += unpacked(data, len(self._limits.all), what, offset, tolerance)
        used = [key for key in keys if key.name in requests]
        accounts = {name: self._account(name, used, requests) for name in {key.account for key in used} if self._limits.account}
        return [Ledgers(Ledger(key.name, self._limits.key, requests[key.name], self._tolerance), accounts.get(key.account)) for key in used]

    def _account(self, name: str, keys: Sequence[Key], requests: Mapping[str, list[Request]]) -> Ledger:
        own = [request for key in keys if key.account == name for request in requests[key.name]]
        return Ledger(name, self._limits.account, own, self._tolerance)

    def _is_elsewhere(self, source: Source) -> bool:
        return source.machine != self._machine
