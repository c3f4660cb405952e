"""Each gateway of examples/gateways: what works behind it, by the tests, and its throughput with the sidecar and without."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import yaml

from benches.http_servers import Servers, config
from benches.private_redis import private_redis
from benches.rounds import Effort, spread
from benches.tables import Report, Table

_ROOT = Path(__file__).resolve().parents[2]
# The tests know how to run the gateways. The root comes first: without it tests/limiter would be taken for a namespace package `limiter`.
sys.path += [str(_ROOT), str(_ROOT / "tests")]

from support.servers.gateways import FOLDER, MAIN, command, gateway, replacing  # noqa: E402 - needs the line above

CONNECTIONS = 32
# More than any gateway passes on.
MOST = 1_000_000_000
KEY = "ff_test_00000000000000000000000000000000"
COLUMNS = ("numbers", "bodies", "fail-open", "fail-closed", "WebSocket", "streaming", "charged once")
VERSION = {"nginx": "-v", "caddy": "version", "haproxy": "-v", "apache": "-v", "envoy": "--version", "traefik": "version"}
NAME = {"nginx": "nginx", "caddy": "Caddy", "haproxy": "HAProxy", "apache": "Apache", "envoy": "Envoy", "traefik": "Traefik"}

NOTE = (
    f"`requests/s`: with the sidecar and three limits, over {CONNECTIONS} connections of wrk, and with everything on the same machine. "
    "`of alone`: compared with the same gateway without the sidecar, in front of an API that answers at once. The other columns come from "
    "the tests of the examples."
)


def _without(begin: str, end: str) -> Callable[[str], str]:
    """An edit that removes the text from `begin` to before `end`."""

    def edit(text: str) -> str:
        return re.sub(f"{re.escape(begin)}.*?(?={re.escape(end)})", "", text, count=1, flags=re.DOTALL)

    return edit


# Edits of the main file that turn off the question to the sidecar.
ALONE = {
    "nginx": replacing("auth_request /_limiter;", ""),
    "caddy": _without("\treverse_proxy 127.0.0.1:8001", "\treverse_proxy 127.0.0.1:9000"),
    "haproxy": replacing("  http-request lua.limiter\n", ""),
    "apache": replacing("LuaHookAccessChecker limiter.lua authorize\n", ""),
    "envoy": _without("- name: envoy.filters.http.lua", "- name: envoy.filters.http.router"),
    "traefik": replacing("middlewares: [limiter, numbers, hide], ", ""),
}


@dataclass(slots=True)
class Measured:
    """Requests a second in each round."""

    alone: list[float] = field(default_factory=list)
    guarded: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [guarded / alone for guarded, alone in zip(self.guarded, self.alone, strict=True)]


def bench(*, short: bool) -> Report:
    effort = Effort(1, 1) if short else Effort(3, 5)
    works = {} if short else what_works()
    rows = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = Servers(stack, folder, stack.enter_context(private_redis()))
        upstream = servers.app("upstream")
        for program in MAIN:
            sidecar = servers.sidecar(_settings(program))
            with (
                gateway(program, sidecar.port, upstream.port) as guarded,
                gateway(program, sidecar.port, upstream.port, ALONE[program]) as alone,
            ):
                rows.append(_row(program, works, _measure(alone, guarded, effort)))
    columns = ["gateway", "version", *COLUMNS, "requests/s", "of alone", "middle half"]
    return Report("Gateways", [Table("What works, and what it costs", columns, rows, NOTE)])


def what_works() -> dict[tuple[str, str], bool]:
    """Runs the tests. By gateway and column: whether all tests of the column pass."""
    with tempfile.TemporaryDirectory() as name:
        report = Path(name, "report.xml")
        # Only this form of the report has properties.
        options = ["-m", "works", f"--junitxml={report}", "-o", "junit_family=xunit1"]
        command = [sys.executable, "-m", "pytest", "-q", "tests/api/gateways", *options]
        subprocess.run(command, cwd=_ROOT, stdout=subprocess.DEVNULL, check=False)  # noqa: S603 - a fixed command
        found: dict[tuple[str, str], bool] = {}
        for program, column, passed in _outcomes(ET.parse(report).getroot()):  # noqa: S314 - written by pytest, just now
            found[program, column] = found.get((program, column), True) and passed
    return found


def _outcomes(report: ET.Element) -> Iterator[tuple[str, str, bool]]:
    for case in report.iter("testcase"):
        column = next(each.get("value", "") for each in case.iter("property") if each.get("name") == "works")
        program = re.split(r"[\[\]-]", case.get("name", ""))[1]
        yield program, column, not any(case.find(outcome) is not None for outcome in ("failure", "error", "skipped"))


def _settings(program: str) -> str:
    """The example's way to ask, with limits that deny nothing."""
    limits = [f"{MOST}/minute", f"{MOST}/hour", "burst 1000000, 60000000/minute"]
    settings = json.loads(config({"standard": limits}, {KEY: "standard"}))
    example = yaml.safe_load((FOLDER / program / "limiter.yaml").read_text())
    settings["identify"]["gateway"] = example["identify"]["gateway"]
    settings["identify"]["trusted_proxies"] = example["identify"]["trusted_proxies"]
    return json.dumps(settings | {"deny_status": example.get("deny_status", 429)})


def _measure(alone: int, guarded: int, effort: Effort) -> Measured:
    measured = Measured()
    turns = [(alone, measured.alone), (guarded, measured.guarded)]
    for port, _ in turns:
        _rate(port, 1)
    for _ in range(effort.rounds):
        random.shuffle(turns)
        for port, rates in turns:
            rates.append(_rate(port, effort.turn))
    return measured


def _rate(port: int, seconds: float) -> float:
    options = ["-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds:.0f}s", "-H", f"Authorization: Bearer {KEY}"]
    output = subprocess.run(["wrk", *options, f"http://127.0.0.1:{port}/items"], stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603, S607 - a fixed command
    rate = re.search(r"Requests/sec: *([\d.]+)", output)
    if not rate or "Non-2xx" in output:
        raise RuntimeError(f"every response must be 200:\n{output}")
    return float(rate[1])


def _row(program: str, works: dict[tuple[str, str], bool], measured: Measured) -> Sequence[str]:
    cells = [("yes" if works[program, column] else "no") if works else "-" for column in COLUMNS]
    rate, ratio = median(measured.guarded), median(measured.ratios)
    return [NAME[program], _version(program), *cells, f"{rate:,.0f}", f"{ratio:.2f}", spread(measured.ratios)]


def _version(program: str) -> str:
    done = subprocess.run([command(program)[0], VERSION[program]], capture_output=True, text=True, check=True)  # noqa: S603 - a fixed command
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else "unknown"
