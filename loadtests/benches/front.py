"""The sidecar compared with a bare server and limiters for FastAPI: one worker each, 64 connections, 1,000 keys, interleaved."""

from __future__ import annotations

import multiprocessing
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benches import http_client
from benches.http_client import Answers, Load
from benches.http_servers import Server, Servers, config
from benches.private_redis import private_redis
from benches.rounds import Effort, spread
from benches.tables import Report, Table, Target
from benches.traffic import HOUR, MINUTE, REFILL, SECOND

CONNECTIONS = 64
KEYS = [f"ff_test_{number:032}" for number in range(1000)]
DENIED_KEYS = [f"ff_test_9{number:031}" for number in range(1000)]
POLICIES = {
    "standard": [f"{MINUTE}/minute", f"{HOUR}/hour", f"burst {SECOND}, {REFILL}/minute"],
    "narrow": ["1/hour", f"{MINUTE}/minute", f"burst {SECOND}, {REFILL}/minute"],
}
LIMITS = {"ours": "minute, hour, burst", "peers": "minute, hour, second", "none": "none"}

NOTE = (
    f"One worker each, {CONNECTIONS} connections, {len(KEYS):,} keys; everything on the same machine, including the load generator and "
    "Redis. `server CPU us`: of the server alone, per request. `busy`: the share of the time that the server was running. If it is well "
    "below 1, the server waited for a core (or for Redis, if it blocks)."
)
COLUMNS = ["server", "requests/s", "ratio", "middle half", "p50 ms", "p99 ms", "server CPU us", "busy", "limits", "answers"]


@dataclass(slots=True)
class Contestant:
    """A server, its requests, and the status of every response. `floor` names the server that its ratios refer to."""

    name: str
    server: Server
    requests: Sequence[bytes]
    limits: str = LIMITS["none"]
    expected: str = "200"
    floor: str = "bare ASGI"
    answers: list[Answers] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return median(each.rate for each in self.answers)

    def ratios(self, floor: Contestant) -> list[float]:
        return [one.rate / other.rate for one, other in zip(self.answers, floor.answers, strict=True)]

    def ratio(self, floor: Contestant) -> float:
        return median(self.ratios(floor))


def bench(*, short: bool) -> Report:
    effort = Effort(0.4, 1) if short else Effort(1.0, 15)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = Servers(stack, folder, stack.enter_context(private_redis()))
        contestants = _contestants(servers)
        _compete(contestants, effort)
    by_name = {each.name: each for each in contestants}
    table = Table("HTTP", COLUMNS, [_row(each, by_name[each.floor]) for each in contestants])
    return Report("The front, over HTTP", [table], _targets(by_name), NOTE, [_summary(contestants, by_name)])


def _contestants(servers: Servers) -> list[Contestant]:
    keys = dict.fromkeys(KEYS, "standard") | dict.fromkeys(DENIED_KEYS, "narrow")
    settings = config(POLICIES, keys)
    upstream = servers.app("upstream")
    sidecar = servers.sidecar(settings)
    plain = requests("/items", KEYS)
    return [
        Contestant("bare ASGI", servers.app("bare"), plain),
        Contestant("**limiter**, /authorize, allowed", sidecar, requests("/authorize/items", KEYS), LIMITS["ours"]),
        Contestant("**limiter**, /authorize, denied", sidecar, requests("/authorize/items", DENIED_KEYS), LIMITS["ours"], "429"),
        Contestant("FastAPI, a route alone", servers.app("fastapi"), plain),
        Contestant("FastAPI + slowapi", servers.app("slowapi"), plain, LIMITS["peers"]),
        Contestant("FastAPI + fastapi-limiter", servers.app("fastapi-limiter"), plain, f"{LIMITS['peers']}; no headers"),
        Contestant("the proxy without limits", servers.app("proxy", upstream.url), plain, floor="the proxy without limits"),
        Contestant(
            "**limiter**, as proxy",
            servers.sidecar(settings, "--upstream", upstream.url),
            plain,
            LIMITS["ours"],
            floor="the proxy without limits",
        ),
    ]


def requests(path: str, keys: Sequence[str]) -> list[bytes]:
    return [f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode() for key in keys]


def _compete(contestants: Sequence[Contestant], effort: Effort) -> None:
    # Spawned, so that the generator is a fresh process and not a copy of this one.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as generator:
        for each in contestants:
            _warm_up(generator, each)
        order = list(contestants)
        for _ in range(effort.rounds):
            random.shuffle(order)
            for each in order:
                _take_turn(generator, each, effort.turn)


def _warm_up(generator: ProcessPoolExecutor, each: Contestant) -> None:
    """Uses every key once: keys of the narrow policy are denied from then on."""
    answers = generator.submit(http_client.run, Load(each.server.port, each.requests, CONNECTIONS, 0.3)).result()
    while sum(answers.statuses.values()) < len(each.requests) and each.expected != "200":
        answers = generator.submit(http_client.run, Load(each.server.port, each.requests, CONNECTIONS, 1.0)).result()


def _take_turn(generator: ProcessPoolExecutor, each: Contestant, seconds: float) -> None:
    before = each.server.cpu()
    answers = generator.submit(http_client.run, Load(each.server.port, each.requests, CONNECTIONS, seconds)).result()
    spent, number = each.server.cpu() - before, sum(answers.statuses.values())
    if set(answers.statuses) != {each.expected}:
        raise RuntimeError(f"{each.name} must answer {each.expected}, not {dict(answers.statuses)}")
    each.answers.append(answers)
    each.cpu_us.append(spent / number * 1e6)
    each.busy.append(spent / number * answers.rate)


def _targets(by_name: dict[str, Contestant]) -> list[Target]:
    bare, slow = by_name["bare ASGI"], by_name["FastAPI + slowapi"]
    allowed, denied = by_name["**limiter**, /authorize, allowed"], by_name["**limiter**, /authorize, denied"]
    return [
        Target("/authorize, allowed, of bare ASGI", allowed.ratio(bare), 0.65),
        Target("/authorize, denied, of bare ASGI", denied.ratio(bare), 0.65),
        Target("/authorize, allowed, of slowapi", allowed.ratio(slow), 15),
        Target("/authorize, denied, of slowapi", denied.ratio(slow), 15),
        Target("as proxy, of the proxy without limits", by_name["**limiter**, as proxy"].ratio(by_name["the proxy without limits"]), 0.6),
    ]


def _row(each: Contestant, floor: Contestant) -> list[str]:
    ratios = each.ratios(floor)
    p50, p99 = (median(getattr(answers, name) for answers in each.answers) for name in ("p50_ms", "p99_ms"))
    total: Counter[str] = sum((answers.statuses for answers in each.answers), Counter())
    return [
        each.name,
        f"{each.rate:,.0f}",
        f"{median(ratios):.2f}",
        spread(ratios),
        f"{p50:.2f}",
        f"{p99:.2f}",
        f"{min(each.cpu_us):.1f}",
        f"{median(each.busy):.2f}",
        each.limits,
        ", ".join(sorted(total)),
    ]


def _summary(contestants: Sequence[Contestant], by_name: dict[str, Contestant]) -> Table:
    rows = [
        [
            each.name,
            f"{each.rate:,.0f}",
            f"{each.ratio(by_name[each.floor]):.2f}",
            f"{median(a.p99_ms for a in each.answers):.1f}",
            each.limits,
        ]
        for each in contestants
    ]
    return Table("Sidecar", ["server", "requests/s", "of its floor", "p99 ms", "limits"], rows)
