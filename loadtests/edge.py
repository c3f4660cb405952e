"""Sends the same traffic to FastAPI with slowapi and to a sidecar, and draws what each admits around the end of a window.

python loadtests/edge.py [--limit 100/minute] [--picture docs/images/edge.svg]

Exits with 0 if the verdicts are as expected: slowapi's fixed window admits too much at its edge, and the sidecar does not.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benches.http_servers import Server, Servers, config, served
from benches.private_redis import free_port, private_redis
from report.axes import WIDTH, text
from report.charts import STYLE

from limiter import parse_limit

HERE = Path(__file__).resolve().parent
_KEY = "ff_test_" + "0" * 32
# More than Locust takes to start.
_STARTING_S = 8
_HEADING, _GAP = 34, 26


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", default="100/minute")
    parser.add_argument("--picture", type=Path, default=HERE.parent / "docs/images/edge.svg")
    options = parser.parse_args()
    limit = parse_limit(options.limit)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "keys").write_text(f"{_KEY}\n", "utf-8")
        servers = Servers(stack, folder, stack.enter_context(private_redis()))
        slowapi = _slowapi(stack, folder, f"{limit.capacity}/{limit.seconds} seconds")
        ours = servers.sidecar(config({"limited": [options.limit]}, {_KEY: "limited"}))
        # The requests begin when a window of the clock does, so the test starts shortly before.
        time.sleep((-time.time() - _STARTING_S) % limit.seconds)
        tests = {
            "FastAPI with slowapi": _started(slowapi, "/items", folder / "slowapi.html", options.limit),
            "limiter": _started(ours, "/authorize/items", folder / "limiter.html", options.limit),
        }
        codes = [test.wait() for test in tests.values()]
        panels = [_panel(name, options.limit, folder / file) for name, file in zip(tests, ("slowapi.html", "limiter.html"), strict=True)]
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    options.picture.write_text(_stacked(panels), "utf-8")
    print(f"Picture: {options.picture}")
    return 0 if codes == [1, 0] else 1


def _slowapi(stack: ExitStack, folder: Path, limit: str) -> Server:
    port = free_port()
    return stack.enter_context(served([sys.executable, str(HERE / "slowapi_app.py"), str(port), limit], port, folder / "slowapi.log"))


def _started(server: Server, path: str, report: Path, limit: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--headless", "--only-summary", "--users", "1"]
    command += ["--host", server.url, "--path", path, "--keys", str(report.parent / "keys"), "--limits", limit, "--report", str(report)]
    command += ["--shape", "edge"]
    return subprocess.Popen(command)  # noqa: S603 - a fixed command


def _panel(name: str, limit: str, report: Path) -> tuple[str, str, float]:
    """The heading, the chart of the limit, and its height."""
    found = re.search(r'(?s)<svg viewBox="0 0 \d+ ([\d.]+)".*?</svg>', report.read_text("utf-8"))
    assert found
    return f"{name}, {limit}", found[0], float(found[1])


def _stacked(panels: Sequence[tuple[str, str, float]]) -> str:
    parts, top = [], 0.0
    for heading, chart, height in panels:
        parts.append(text(20, top + 24, heading, style="heading"))
        parts.append(chart.replace("<svg ", f'<svg y="{top + _HEADING:g}" width="{WIDTH}" height="{height:g}" ', 1))
        top += _HEADING + height + _GAP
    style = f"<style>{STYLE} .heading {{ font-size: 19px; font-weight: 700; fill: #1f2328; }}</style>"
    body = "\n".join([style, f'<rect width="{WIDTH}" height="{top:g}" fill="#fff"/>', *parts])
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:g}" width="{WIDTH}" height="{top:g}">\n{body}\n</svg>\n'


if __name__ == "__main__":
    sys.exit(main())
