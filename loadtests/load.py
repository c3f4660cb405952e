"""`make load`: Locust against a private sidecar, with a small upstream behind it, for a minute.

python loadtests/load.py [--seconds 60] [--users 40] [--held-to 300/minute ...]

Exit code 0: limits were reached and held, and nothing failed. An HTML report is left in build/load.html.
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
    told = _arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scenario = _started(stack, folder, told.users, told.held_to or LIMITS)
        scenario.write(folder / "scenario.json")
        code = _locust(told, folder / "scenario.json")
    print(f"Report: {REPORT.relative_to(HERE.parent)}")
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--held-to", nargs="+", metavar="LIMIT", help="what is checked, if not what is enforced: a tighter one must fail")
    return parser.parse_args()


def _started(stack: ExitStack, folder: Path, users: int, held_to: list[str]) -> Scenario:
    """Two sidecars on one Redis: one to be asked, one to be gone through."""
    # Some to spare, as Locust may replace a user.
    keys = [f"ff_test_{number:032}" for number in range(2 * users)]
    settings = config({"loaded": LIMITS}, dict.fromkeys(keys, "loaded"))
    servers = Servers(stack, folder, stack.enter_context(private_redis()))
    asked = servers.sidecar(settings)
    front = servers.sidecar(settings, "--upstream", servers.app("upstream").url)
    return Scenario(asked.url, front.url, keys, LIMITS, held_to)


def _locust(told: argparse.Namespace, scenario: Path) -> int:
    REPORT.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "locust", "--locustfile", str(HERE / "locustfile.py"), "--headless", "--only-summary"]
    command += ["--users", str(told.users), "--spawn-rate", str(told.users), "--run-time", f"{told.seconds}s", "--html", str(REPORT)]
    return subprocess.run(command, env={**os.environ, VARIABLE: str(scenario)}, check=False).returncode  # noqa: S603 - our own


if __name__ == "__main__":
    sys.exit(main())
