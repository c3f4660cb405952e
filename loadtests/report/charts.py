"""The charts of a report, as SVG."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from judge.ledger import Ledger
from judge.requests import Breach, Curve, Judge, Request
from judge.verdict import percentile

from report.axes import LEFT, RIGHT, WIDTH, Axes, number, seconds_text, text

# Widths of a bar, in seconds.
_BIN_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
_MOST_BINS = 130
_TITLE, _USE, _GAP, _BARS, _FOOT = 34.0, 170.0, 34.0, 64.0, 34.0

STYLE = """
svg { font: 13px system-ui, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
.label { fill: #57606a; } .title { fill: #1f2328; font-weight: 600; font-size: 15px; } .capacity-label { fill: #1f2328; font-weight: 600; }
.over-label { fill: #b3261e; font-weight: 600; }
.grid { stroke: #e6e9ed; } .axis { stroke: #8c959f; } .capacity { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 6 4; }
.use { fill: none; stroke: #0a7d6c; stroke-width: 2; stroke-linejoin: round; } .under { fill: #0a7d6c; fill-opacity: .13; }
.over { fill: #d1372b; fill-opacity: .8; } .span { fill: none; stroke: #b3261e; stroke-width: 1.5; }
.admitted { fill: #0a7d6c; } .denied { fill: #e3a008; } .failed { fill: #d1372b; }
.median { fill: none; stroke: #0a5ca8; stroke-width: 2; } .slowest { fill: none; stroke: #8a4fbf; stroke-width: 1.5; }
.edge { stroke: #8c959f; stroke-dasharray: 2 3; }
"""


@dataclass(frozen=True, slots=True)
class Span:
    """The times that a chart shows. Labels count from `zero`."""

    start: float
    end: float
    zero: float

    def axes(self, most: float, top: float, height: float) -> Axes:
        return Axes(self.start, self.end, most, top, height, self.zero)


def limit_chart(title: str, ledger: Ledger, judge: Judge, span: Span, room: float = 1.0) -> str:
    """The units in use against the limit, and below it what was admitted and denied when. There is room for `room` times the limit."""
    curve, breach = _until(judge.curve(), span.end), judge.breach()
    use = span.axes(1.15 * max([room * judge.capacity, *(value for _, value in curve)]), _TITLE + 22, _USE)
    height = use.bottom + _GAP + _BARS + _FOOT
    parts = [text(LEFT, 18, title, style="title"), text(LEFT, 38, judge.label), *_legend(("admitted", "denied", "failed"), 18)]
    parts += [*use.frame(times=False), *_use(curve, judge.capacity, use, breach is not None)]
    parts += [*_capacity_line(judge.capacity, use), *_breach(breach, use)]
    bars = _outcome_bars(ledger.requests, span, use.bottom + _GAP)
    return svg(height, f"{title}: {judge.label}", [*parts, *bars])


def _until(curve: Curve, end: float) -> Curve:
    """Without the points after the test, in which nothing was sent."""
    shown = [point for point in curve if point[0] <= end]
    return [*shown, (end, shown[-1][1])] if shown else []


def _use(curve: Curve, capacity: int, axes: Axes, is_breached: bool) -> Iterator[str]:
    if not curve:
        return
    line = axes.path(curve)
    closed = f"{line} L{axes.x(curve[-1][0]):g},{axes.bottom:g} L{axes.x(curve[0][0]):g},{axes.bottom:g} Z"
    yield f'<path class="under" d="{closed}"/>'
    if is_breached:
        # What is above the limit is cut out of the same area.
        name = f"above-{abs(hash((line, capacity))) % 10**9}"
        yield f'<clipPath id="{name}"><rect x="0" y="0" width="{WIDTH}" height="{axes.y(capacity):g}"/></clipPath>'
        yield f'<path class="over" clip-path="url(#{name})" d="{closed}"/>'
    yield f'<path class="use" d="{line}"/>'


def _capacity_line(capacity: int, axes: Axes) -> Iterator[str]:
    y = axes.y(capacity)
    yield f'<line class="capacity" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
    yield text(WIDTH - RIGHT - 6, y + 17, f"limit: {capacity:,}", "end", "capacity-label")


def _breach(breach: Breach | None, axes: Axes) -> Iterator[str]:
    """The window that contains too much, and how much."""
    if breach:
        left, right, top = axes.x(breach.start), axes.x(breach.end), axes.top + 3
        yield text(WIDTH - RIGHT, 38, breach.text, "end", "over-label")
        # A window that ends after the test stays open.
        end = f"V{axes.bottom}" if breach.end <= axes.end else ""
        yield f'<path class="span" d="M{left},{axes.bottom} V{top} H{right} {end}"/>'


def _bin_width(span: Span) -> float:
    return next((width for width in _BIN_SECONDS if (span.end - span.start) / width <= _MOST_BINS), (span.end - span.start) / _MOST_BINS)


def _bins(requests: Sequence[Request], span: Span) -> dict[float, list[Request]]:
    """The answered requests, by the start of the bar that contains the time at which they were sent."""
    width = _bin_width(span)
    bins: dict[float, list[Request]] = defaultdict(list)
    for each in requests:
        if not each.unanswered:
            bins[span.zero + math.floor((each.sent - span.zero) / width) * width].append(each)
    return dict(sorted(bins.items()))


def _outcome_bars(requests: Sequence[Request], span: Span, top: float) -> Iterator[str]:
    bins, width = _bins(requests, span), _bin_width(span)
    axes = span.axes(1.05 * max((len(inside) for inside in bins.values()), default=1), top, _BARS)
    yield text(LEFT, top - 8, f"requests sent, per {seconds_text(width)}")
    yield from axes.frame(values=2)
    for start, inside in bins.items():
        counts = [sum(each.admitted for each in inside), sum(each.denied for each in inside), sum(each.failed for each in inside)]
        yield from _stack(counts, start, width, axes)


def _stack(counts: Sequence[int], at: float, width: float, axes: Axes) -> Iterator[str]:
    below = 0
    left, right = axes.x(at), axes.x(at + width)
    for count, style in zip(counts, ("admitted", "denied", "failed"), strict=True):
        if count:
            top, foot = axes.y(below + count), axes.y(below)
            yield f'<rect class="{style}" x="{left}" y="{top}" width="{max(1.0, right - left - 1):.1f}" height="{foot - top:.1f}"/>'
        below += count


def _legend(names: Iterable[str], y: float, styles: Iterable[str] = ()) -> Iterator[str]:
    right = WIDTH - RIGHT
    for name, style in reversed(list(zip(names, styles or names, strict=True))):
        right -= 9 + 7 * len(name)
        yield text(right, y, name)
        yield f'<rect class="{style}" x="{right - 18}" y="{y - 10}" width="12" height="12" rx="2"/>'
        right -= 30


def latency_chart(requests: Sequence[Request], span: Span) -> str:
    middle = _bin_width(span) / 2
    rows = [(start + middle, sorted(1000 * each.seconds for each in inside)) for start, inside in _bins(requests, span).items()]
    medians, slowest = [(at, percentile(times, 0.5)) for at, times in rows], [(at, percentile(times, 0.99)) for at, times in rows]
    axes = span.axes(1.1 * max((value for _, value in slowest), default=1), _TITLE + 8, 150)
    parts = [text(LEFT, 18, "Response time in milliseconds", style="title")]
    parts += _legend(("half of the responses were faster", "99 % were faster"), 18, ("median-key", "slowest-key"))
    parts += [*axes.frame(), f'<path class="slowest" d="{axes.path(slowest)}"/>', f'<path class="median" d="{axes.path(medians)}"/>']
    return svg(axes.bottom + _FOOT, f"response times up to {number(axes.most)} ms", parts)


def svg(height: float, label: str, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}" xmlns="http://www.w3.org/2000/svg">\n{body}\n</svg>'
    )
