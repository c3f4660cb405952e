"""What a client knows of a request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

# How much faster or slower than ours the server's clock may run: 500 ppm, the most by which NTP adjusts the rate of a clock.
DRIFT = 500e-6


@dataclass(slots=True, eq=False)
class Request:
    """Times are seconds of one clock. Status 0: no response. Denials have the status 429, whatever the API uses.

    `remaining` has the number that the response stated for each limit of the key, then for each of its account. NaN is "not stated".
    """

    sent: float
    received: float = math.inf
    status: int = 0
    retry_after: float = math.nan
    # X-RateLimit-Limit
    capacity: float = math.nan
    remaining: tuple[float, ...] = ()
    name: str = ""
    # How far `sent` and `received` were moved apart, because clocks differ.
    padding: float = 0.0

    @property
    def admitted(self) -> bool:
        return 200 <= self.status < 400

    @property
    def denied(self) -> bool:
        return self.status == 429

    @property
    def unanswered(self) -> bool:
        """Still in flight when the test ended."""
        return math.isinf(self.received)

    @property
    def failed(self) -> bool:
        return not (self.admitted or self.denied or self.unanswered)

    @property
    def seconds(self) -> float:
        return self.received - self.sent - 2 * self.padding


@dataclass(frozen=True, slots=True)
class Breach:
    """More was admitted between `start` and `end` than the limit allows. The text says how much."""

    start: float
    end: float
    text: str

    def __str__(self) -> str:
        return self.text


# Points (time, units in use), connected by straight lines.
Curve = list[tuple[float, float]]


class Judge(Protocol):
    """One limit and the requests that it applies to."""

    @property
    def capacity(self) -> int: ...

    @property
    def label(self) -> str:
        """What a chart of the limit shows, such as `admitted in the last 60 s`."""
        ...

    def breach(self) -> Breach | None:
        """The worst one."""
        ...

    def may_be_exhausted(self, denied: Request) -> bool:
        """Whether the limit can have had no room when it denied this request."""
        ...

    def most_left(self, answered: Request) -> float:
        """How much can have been left at the most after this request was decided."""
        ...

    def curve(self) -> Curve: ...
