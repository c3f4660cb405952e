"""`make load`: runs Locust for a minute against two private sidecars with a small upstream: one answers /authorize, one is a proxy.

python loadtests/load.py [--seconds 60] [--users 40] [--held-to 300/minute ...]

Any other option is one of Locust or of docs/load-tests.md, such as `--shape burst`.
Exits with 0 if limits were reached and held and nothing failed. Writes the report to build/load.html.
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

HERE = Path(__file__).resolve().parent
REPORT = HERE.parent / "build/load.html"
LIMITS = ["300/minute", "5000/hour", "burst 30, 600/minute"]


def main() -> int:
    options, more = _arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = _started(stack, folder, options.users)
        return _locust(options, more, folder / "keys", urls)


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--held-to", nargs="+", metavar="LIMIT", help="limits to check instead of those enforced; a tighter one must fail")
    return parser.parse_known_args()


def _started(stack: ExitStack, folder: Path, users: int) -> dict[str, str]:
    """Writes the keys, and returns the URLs of the two sidecars, which share one Redis, by the variables that `own.py` reads."""
    # Half as many keys as users, so that both sidecars serve each key.
    keys = [f"ff_test_{number:032}" for number in range(max(1, users // 2))]
    (folder / "keys").write_text("\n".join(keys), "utf-8")
    settings = config({"loaded": LIMITS}, dict.fromkeys(keys, "loaded"))
    servers = Servers(stack, folder, stack.enter_context(private_redis()))
    asked = servers.sidecar(settings)
    front = servers.sidecar(settings, "--upstream", servers.app("upstream").url)
    return {"LIMITER_LOAD_AUTHORIZE": asked.url, "LIMITER_LOAD_PROXY": front.url}


def _locust(options: argparse.Namespace, more: list[str], keys: Path, urls: dict[str, str]) -> int:
    command = [sys.executable, "-m", "locust", "--locustfile", str(HERE / "own.py"), "--headless", "--only-summary"]
    command += ["--users", str(options.users), "--spawn-rate", str(options.users), "--run-time", f"{options.seconds}s"]
    command += ["--keys", str(keys), "--limits", ", ".join(options.held_to or LIMITS)]
    command += [*more, "--report", str(REPORT.relative_to(HERE.parent))]
    return subprocess.run(command, cwd=HERE.parent, env={**os.environ, **urls}, check=False).returncode  # noqa: S603 - a fixed command


if __name__ == "__main__":
    sys.exit(main())
