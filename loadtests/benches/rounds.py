"""Interleaved measurement: in each round every competitor has a short turn, and ratios are computed within a round.

A machine that slows down affects the whole round. So the median of a ratio over many short rounds is more reliable than rates that are
measured one after the other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import TypeVar

from benches.traffic import BATCH

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Competitor:
    """`turn` makes one decision for each given subject. `limits` and `gives` describe a decision."""

    name: str
    turn: Callable[[Sequence[str]], None]
    limits: str = ""
    gives: str = ""
    trips: float = 1


@dataclass(slots=True)
class Measured:
    """The figures of one competitor by round: decisions a second, and microseconds of CPU per decision in this process and in Redis."""

    competitor: Competitor
    rates: list[float] = field(default_factory=list)
    own_us: list[float] = field(default_factory=list)
    redis_us: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return median(self.rates)

    def ratios(self, floor: Measured) -> list[float]:
        return [rate / other for rate, other in zip(self.rates, floor.rates, strict=True)]

    def ratio(self, floor: Measured) -> float:
        return median(self.ratios(floor))

    def spread(self, floor: Measured) -> str:
        return spread(self.ratios(floor))


def spread(values: Sequence[float]) -> str:
    """The middle half of the values."""
    if len(values) < 2:
        return f"{values[0]:.2f}"
    low, _, high = quantiles(values, n=4, method="inclusive")
    return f"{low:.2f} to {high:.2f}"


@dataclass(frozen=True, slots=True)
class Effort:
    """The length of a turn in seconds, and the number of rounds."""

    turn: float
    rounds: int


def interleave(
    competitors: Sequence[Competitor], subjects: Sequence[str], effort: Effort, redis_cpu: Callable[[], float]
) -> list[Measured]:
    counts = [_count(competitor, subjects, effort.turn) for competitor in competitors]
    measured = [Measured(competitor) for competitor in competitors]
    order = list(range(len(competitors)))
    for _ in range(effort.rounds):
        random.shuffle(order)
        for index in order:
            _take_turn(measured[index], _some(subjects, counts[index]), redis_cpu)
    return measured


def _take_turn(measured: Measured, subjects: Sequence[str], redis_cpu: Callable[[], float]) -> None:
    number = len(subjects)
    redis_before, own_before, before = redis_cpu(), time.process_time(), time.perf_counter()
    measured.competitor.turn(subjects)
    spent, own, in_redis = time.perf_counter() - before, time.process_time() - own_before, redis_cpu() - redis_before
    measured.rates.append(number / spent)
    measured.own_us.append(own / number * 1e6)
    measured.redis_us.append(in_redis / number * 1e6)


def _count(competitor: Competitor, subjects: Sequence[str], seconds: float) -> int:
    """The number of decisions in a turn of that length. Finds it by growing turns, which are the warm-up as well."""
    number = 64
    while True:
        drawn = _some(subjects, number)
        before = time.perf_counter()
        competitor.turn(drawn)
        spent = time.perf_counter() - before
        if spent > seconds / 4:
            return max(64, int(number * seconds / spent))
        number *= 4


def batches(items: Sequence[T], size: int = BATCH) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _some(subjects: Sequence[str], number: int) -> list[str]:
    return random.choices(subjects, k=number)
