"""The sidecar beyond its capacity: right answers a second at 0.5 to 3 times the load that it can answer.

The load is open: a request is due at its intended time, whatever became of those before it. `open_loop.c` generates it. With two cores or
more, the sidecar has one to itself, and the generator, Redis and upstream share the others.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benches.front import KEYS, POLICIES, requests
from benches.http_servers import Server, Servers, config
from benches.private_redis import private_redis
from benches.tables import Report, Table, Target

_ALL_CORES = os.sched_getaffinity(0)
# Those of a gateway, and more than are decided in time.
POOLS = (256, 1000)
TIMES = (0.5, 1, 2, 3)
# More than any sidecar can answer, to measure what it can.
FLOOD = 200_000
WANTED = 0.8

NOTE = (
    "Open load over a pool of connections, as from a gateway without a queue: a request that is due while all of them are busy is not "
    "sent, and counts under `no connection`. `load`: connections, and how many times the capacity is offered. `right`: 200 with numbers. "
    "`of best`: compared with the best rate at any load, and then over as many connections. Times count from the intended start to the "
    "right answer. The capacity is what a flood over 64 connections gets."
)
COLUMNS = [
    "connections, x capacity",
    "offered/s",
    "right/s",
    "of best",
    "of best over as many",
    "503/s",
    "other/s",
    "no connection/s",
    "p50 ms",
    "p99 ms",
    "503 p99 ms",
]


def bench(*, short: bool) -> Report:
    seconds = 1.0 if short else 5.0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        generator = folder / "open_loop"
        subprocess.run(["cc", "-O2", "-o", generator, Path(__file__).with_name("open_loop.c")], check=True)  # noqa: S603, S607 - a fixed command
        stack.enter_context(_cores_but_the_first())
        servers = Servers(stack, folder, stack.enter_context(private_redis()))
        tables, targets = [], []
        for name, path, options in (
            ("/authorize", "/authorize/items", ()),
            ("proxy", "/items", ("--upstream", servers.app("upstream").url)),
        ):
            sidecar = servers.sidecar(_settings(), *options)
            _give_the_first_core(sidecar)
            found = _measure(generator, sidecar, b"\0".join(requests(path, KEYS)) + b"\0", seconds)
            best = max(each["right"] for each in found.values())
            rows = [_row(what, each, best, _best_over(what[0], found)) for what, each in found.items()]
            tables.append(Table(f"Overload: {name}", COLUMNS, rows))
            targets += [
                Target(f"{name}, {pool:,} connections: right at 3 x capacity, of the best {over}", found[pool, 3]["right"] / rate, WANTED)
                for pool in POOLS
                for over, rate in (("at any load", best), ("over as many", _best_over(pool, found)))
            ]
    return Report("Goodput under overload", tables, targets, NOTE)


def _settings() -> str:
    settings = json.loads(config(POLICIES, dict.fromkeys(KEYS, "standard")))
    settings["redis"]["deadline"] = "50ms"
    for policy in settings["policies"].values():
        policy["failure"] = "open"
    return json.dumps(settings)


def _measure(generator: Path, sidecar: Server, asked: bytes, seconds: float) -> dict[tuple[int, float], dict[str, float]]:
    flood = _load(generator, sidecar, asked, 64, FLOOD, seconds)
    loads = [(pool, times) for pool in POOLS for times in TIMES]
    found = {(pool, times): _load(generator, sidecar, asked, pool, times * flood["right"], seconds) for pool, times in loads}
    return {(64, FLOOD / flood["right"]): flood} | found


def _load(generator: Path, sidecar: Server, asked: bytes, connections: int, rate: float, seconds: float) -> dict[str, float]:
    command = [generator, str(sidecar.port), str(connections), str(rate), str(seconds)]
    output = subprocess.run(command, input=asked, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 - a fixed command
    found: dict[str, Any] = json.loads(output)
    for name in ("due", "right", "shed", "other", "unsent"):
        found[name] /= found["seconds"]
    return found


def _best_over(connections: int, found: dict[tuple[int, float], dict[str, float]]) -> float:
    return max(each["right"] for (pool, _), each in found.items() if pool == connections)


def _row(what: tuple[int, float], found: dict[str, float], best: float, best_here: float) -> Sequence[str]:
    rates = [f"{found[name]:,.0f}" for name in ("shed", "other", "unsent")]
    shed_ms = f"{found['shed_p99_ms']:.0f}" if found["shed"] else "-"
    right = [f"{found['due']:,.0f}", f"{found['right']:,.0f}", f"{found['right'] / best:.2f}", f"{found['right'] / best_here:.2f}"]
    return [f"{what[0]:,}, {what[1]:.3g}", *right, *rates, f"{found['p50_ms']:.1f}", f"{found['p99_ms']:.0f}", shed_ms]


@contextmanager
def _cores_but_the_first() -> Iterator[None]:
    """Inherited by the processes that start within the block."""
    os.sched_setaffinity(0, _ALL_CORES - {min(_ALL_CORES)} or _ALL_CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, _ALL_CORES)


def _give_the_first_core(server: Server) -> None:
    """Threads that it has started stay where they are: they belong to the pool that resolves names."""
    os.sched_setaffinity(server.process.pid, {min(_ALL_CORES)})
