"""`make load`: runs Locust for a minute against a private sidecar with a small upstream.

python loadtests/load.py [--seconds 60] [--users 40] [--held-to 300/minute ...]

Exits with 0 if limits were reached and held and nothing failed. Writes an HTML report to build/load.html.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benches.http_servers import Servers, config
from benches.private_redis import private_redis
from scenario import VARIABLE, Scenario

HERE = Path(__file__).resolve().parent
REPORT = HERE.parent / "build" / "load.html"
LIMITS = ["300/minute", "5000/hour", "burst 30, 600/minute"]


def main() -> int:
    options = _arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scenario = _started(stack, folder, options.users, options.held_to or LIMITS)
        scenario.write(folder / "scenario.json")
        code = _locust(options, folder / "scenario.json")
    print(f"Report: {REPORT.relative_to(HERE.parent)}")
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--held-to", nargs="+", metavar="LIMIT", help="limits to check instead of those enforced; a tighter one must fail")
    return parser.parse_args()


def _started(stack: ExitStack, folder: Path, users: int, held_to: list[str]) -> Scenario:
    """Two sidecars on one Redis: one answers /authorize, one is a proxy."""
    # Spare keys, as Locust may replace a user.
    keys = [f"ff_test_{number:032}" for number in range(2 * users)]
    settings = config({"loaded": LIMITS}, dict.fromkeys(keys, "loaded"))
    servers = Servers(stack, folder, stack.enter_context(private_redis()))
    asked = servers.sidecar(settings)
    front = servers.sidecar(settings, "--upstream", servers.app("upstream").url)
    return Scenario(asked.url, front.url, keys, LIMITS, held_to)


def _locust(options: argparse.Namespace, scenario: Path) -> int:
    REPORT.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "locust", "--locustfile", str(HERE / "locustfile.py"), "--headless", "--only-summary"]
    command += ["--users", str(options.users), "--spawn-rate", str(options.users)]
    command += ["--run-time", f"{options.seconds}s", "--html", str(REPORT)]
    return subprocess.run(command, env={**os.environ, VARIABLE: str(scenario)}, check=False).returncode  # noqa: S603 - a fixed command


if __name__ == "__main__":
    sys.exit(main())
