"""The frame of a chart: where a value stands, and the lines and labels around it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 960
LEFT, RIGHT = 64, 16
_STEPS = (1, 2, 5)
_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Axes:
    """Maps times from `start` to `end`, and values from 0 to `most`, to a frame whose upper edge is at `top`."""

    start: float
    end: float
    most: float
    top: float
    height: float
    # The time that the labels call zero.
    zero: float = 0.0

    def x(self, time: float) -> float:
        share = (min(max(time, self.start), self.end) - self.start) / (self.end - self.start)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(self.top + self.height * (1 - min(value, self.most) / self.most), 1)

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def frame(self, *, times: bool = True, values: int = 4) -> Iterator[str]:
        for value in ticks(self.most, values):
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(value)}" y2="{self.y(value)}"/>'
            yield text(LEFT - 8, self.y(value) + 4, number(value), "end")
        yield f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.bottom}" y2="{self.bottom}"/>'
        if times:
            step = next((each for each in _SECONDS if (self.end - self.start) / each <= 10), _SECONDS[-1])
            for place in range(math.ceil((self.start - self.zero) / step), math.floor((self.end - self.zero) / step) + 1):
                at = self.zero + place * step
                yield f'<line class="axis" x1="{self.x(at)}" x2="{self.x(at)}" y1="{self.bottom}" y2="{self.bottom + 5}"/>'
                anchor = "end" if self.x(at) > WIDTH - RIGHT - 20 else "middle"
                yield text(self.x(at), self.bottom + 20, seconds_text(place * step), anchor)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """Skips points that would be drawn on the same place."""
        drawn: list[str] = []
        for time, value in points:
            here = f"{self.x(time):g},{self.y(value):g}"
            if not drawn or drawn[-1] != here:
                drawn.append(here)
        return "M" + " L".join(drawn) if drawn else ""


def text(x: float, y: float, words: str, anchor: str = "start", style: str = "label") -> str:
    return f'<text class="{style}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def ticks(most: float, wanted: int) -> list[float]:
    """Round values from 0 on, at most `wanted` above it."""
    rough = most / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * each for each in (*_STEPS, 10) if power * each >= rough * 0.999)
    return [step * place for place in range(int(most / step * 1.001) + 1)]


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"


def seconds_text(seconds: float) -> str:
    sign, seconds = ("−" if seconds < 0 else ""), abs(seconds)  # noqa: RUF001 - a minus sign
    if seconds < 120:
        return f"{sign}{seconds:g} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{sign}{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{sign}{rest // 60}:{rest % 60:02} min"
