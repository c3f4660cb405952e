"""The page of a report: the verdict first, then the charts, then every figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from judge.ledger import Ledger, Ledgers
from judge.requests import Request
from judge.verdict import Verdict, counted, percentile

from report.axes import seconds_text
from report.charts import STYLE, Span, latency_chart, limit_chart

_MOST_CHARTS, _MOST_ROWS = 12, 200

_PAGE_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f8fa; color: #1f2328; font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 22px; margin: 0 0 12px; } h2 { font-size: 19px; margin: 36px 0 8px; } p { margin: 6px 0; max-width: 76ch; }
.verdict { border-radius: 12px; padding: 18px 22px; color: #fff; } .pass { background: #0a6e5f; } .fail { background: #b3261e; }
.verdict b { display: block; font-size: 26px; line-height: 1.3; } .verdict ul { margin: 10px 0 0; padding-left: 20px; }
.verdict li { overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); gap: 12px; margin: 16px 0; }
.facts div, .card { background: #fff; border: 1px solid #d8dee4; border-radius: 12px; padding: 12px 16px; }
.facts b { display: block; font-size: 22px; } .facts span { color: #57606a; font-size: 14px; }
.card { margin: 12px 0; overflow-x: auto; } svg { display: block; width: 100%; height: auto; min-width: 640px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid #e6e9ed; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } td:last-child, th:last-child { text-align: left; white-space: normal; }
.note { background: #fff8e1; border: 1px solid #e3c35a; border-radius: 12px; padding: 10px 16px; margin: 12px 0; max-width: none; }
.median-key { fill: #0a5ca8; } .slowest-key { fill: #8a4fbf; }
"""

_HOW_TO_READ = """<p>Each chart shows one limit of one API key. The green line is how much of the limit was in use at each moment, seen from
outside. It may reach the dashed line, which is the limit, and must not cross it: everything above would be red. The bars below show what
was sent: green was admitted, yellow was denied with status 429.</p>"""

_HOW_IT_JUDGES = """<h2>How this was judged</h2>
<p>The server decided each request at some moment between sending it and receiving its response. The test knows only these two times, so it
blames the server only for what cannot be explained otherwise:</p>
<ul><li>A limit was exceeded if more requests than it allows were both sent and answered within one window, wherever the window starts.</li>
<li>A denial was not owed if no limit can have been used up, even if every request in flight was counted first.</li>
<li>A stated remainder was wrong if it is more than what can have been left.</li>
<li>Retry-After was wrong if a client that waited this long was denied, though nothing was admitted in between, or if a request was admitted
more than a second earlier.</li></ul>"""


@dataclass(frozen=True, slots=True)
class Facts:
    """`started` and `ended` are times of day."""

    host: str
    shape: str
    started: float
    ended: float


def page(verdict: Verdict, facts: Facts) -> str:
    span = _span(verdict.requests, facts)
    parts = [*_verdict(verdict), *_facts(verdict, facts, span)]
    parts += [f'<p class="note">{escape(note)}</p>' for note in verdict.notes]
    if verdict.requests:
        parts += ["<h2>Limits</h2>", _HOW_TO_READ, *_charts(verdict, span, 2.0 if facts.shape == "edge" else 1.0)]
        parts += [
            "<h2>Response times</h2>",
            f'<div class="card">{latency_chart(verdict.requests, span)}</div>',
            *_latencies(verdict.requests),
        ]
        parts += [*_keys(verdict), _HOW_IT_JUDGES]
    title, body = "Load test of rate limits", "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}: {'passed' if verdict.passed else 'failed'}</title><style>{_PAGE_STYLE}{STYLE}</style></head>\n"
        f"<body><main><h1>{title}</h1>\n{body}\n</main></body></html>\n"
    )


def _span(requests: Sequence[Request], facts: Facts) -> Span:
    """From shortly before the first request on: the shape `edge` begins with a pause."""
    first = min((each.sent for each in requests), default=facts.started)
    return Span(max(facts.started, first - 0.02 * (facts.ended - first)), facts.ended, facts.started)


def _verdict(verdict: Verdict) -> Iterator[str]:
    yield f'<div class="verdict {"pass" if verdict.passed else "fail"}"><b>{"The limits were held" if verdict.passed else "Failed"}</b>'
    if verdict.passed:
        yield f"<p>{escape(verdict.sentence.removeprefix('PASS: ').partition('. ')[2])}</p>"
    else:
        rows = [f"<li>{escape(_capitalized(problem.text))}.</li>" for problem in verdict.problems[:_MOST_CHARTS]]
        if more := len(verdict.problems) - len(rows):
            rows.append(f"<li>{counted(more, 'more problem')}, in the table of keys below.</li>")
        yield f"<ul>{''.join(rows)}</ul>"
    yield "</div>"


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _facts(verdict: Verdict, facts: Facts, span: Span) -> Iterator[str]:
    started = datetime.fromtimestamp(facts.started, UTC)
    yield f"<p>{escape(facts.host or 'Several hosts')}, traffic in the shape “{facts.shape}”, {started:%d %B %Y at %H:%M:%S} UTC.</p>"
    p99 = 1000 * percentile(sorted(each.seconds for each in verdict.requests if not each.unanswered), 0.99)
    figures = {
        "of traffic": seconds_text(round(span.end - span.start)),
        "API keys": f"{len(verdict.keys):,}",
        "admitted": f"{verdict.admitted:,}",
        "denied": f"{verdict.denied:,}",
        "of them not owed": f"{len(verdict.not_owed):,}",
        "failed": f"{verdict.failed:,}",
        "99 % answered within": f"{p99:,.0f} ms",
    }
    cells = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for name, value in figures.items())
    yield f'<div class="facts">{cells}</div>'


def _charts(verdict: Verdict, span: Span, room: float) -> Iterator[str]:
    """The keys with problems first, then those with the most denials."""
    blamed = {problem.key for problem in verdict.problems}
    accounts = {each.account.name: each.account for each in verdict.keys if each.account}
    ledgers = [*(each.key for each in verdict.keys), *accounts.values()]
    ranked = sorted(ledgers, key=lambda each: (each.name not in blamed, -sum(request.denied for request in each.requests)))
    charts = [(ledger, place) for ledger in ranked for place in range(len(ledger.limits))]
    for ledger, place in charts[:_MOST_CHARTS]:
        title = _capitalized(f"{ledger.name}: {limit_text(ledger, place)}")
        yield f'<div class="card">{limit_chart(title, ledger, ledger.judges[place], span, room)}</div>'
    if len(charts) > _MOST_CHARTS:
        yield f"<p>{counted(len(charts) - _MOST_CHARTS, 'more chart')} are not shown. The table below has all keys.</p>"


def limit_text(ledger: Ledger, place: int) -> str:
    return f"limit “{ledger.limits[place].name}” of {ledger.judges[place].capacity:,}"


def _latencies(requests: Sequence[Request]) -> Iterator[str]:
    rows = []
    for name, wanted in (("admitted", Request.admitted), ("denied", Request.denied), ("failed", Request.failed)):
        times = sorted(1000 * each.seconds for each in requests if wanted.fget(each))  # type: ignore[attr-defined]
        if times:
            cells = "".join(f"<td>{percentile(times, share):,.1f}</td>" for share in (0.5, 0.9, 0.99, 1))
            rows.append(f"<tr><td>{name}</td><td>{len(times):,}</td>{cells}<td></td></tr>")
    head = "<tr><th>responses</th><th>number</th><th>median, ms</th><th>90 %</th><th>99 %</th><th>slowest</th><th></th></tr>"
    yield f'<div class="card"><table>{head}{"".join(rows)}</table></div>'


def _keys(verdict: Verdict) -> Iterator[str]:
    blamed: dict[str, list[str]] = {}
    for problem in verdict.problems:
        blamed.setdefault(problem.key, []).append(problem.text.removeprefix(f"{problem.key}: "))
    rows = "".join(_key_row(each, blamed.get(each.key.name, [])) for each in verdict.keys[:_MOST_ROWS])
    head = "<tr><th>key</th><th>admitted</th><th>denied</th><th>failed</th><th>X-RateLimit-Limit</th><th>problems</th></tr>"
    yield "<h2>Keys</h2><p>A key is named by its line in the file of keys.</p>"
    yield f'<div class="card"><table>{head}{rows}</table></div>'
    if len(verdict.keys) > _MOST_ROWS:
        yield f"<p>{counted(len(verdict.keys) - _MOST_ROWS, 'more key')}.</p>"


def _key_row(ledgers: Ledgers, problems: Sequence[str]) -> str:
    requests = ledgers.key.requests
    counts = (sum(each.admitted for each in requests), sum(each.denied for each in requests), sum(each.failed for each in requests))
    stated = sorted({int(each.capacity) for each in requests if each.capacity == each.capacity})
    limits = " and ".join(f"{number:,}" for number in stated) or "not sent"
    cells = "".join(f"<td>{count:,}</td>" for count in counts)
    return f"<tr><td>{escape(ledgers.key.name)}</td>{cells}<td>{limits}</td><td>{escape('; '.join(problems)) or 'none'}</td></tr>"
