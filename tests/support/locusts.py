"""Real Locust processes with the locustfiles of `loadtests/`."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.pages import ROOT
from support.servers.redis_server import free_port

LOADTESTS = ROOT / "loadtests"
_PATIENCE_S = 120


@dataclass(frozen=True)
class Done:
    code: int
    output: str
    report: Path

    @property
    def last_line(self) -> str:
        return self.output.strip().splitlines()[-1]

    @property
    def page(self) -> str:
        return self.report.read_text()


def command(*options: str, file: str = "locustfile.py") -> list[str]:
    return [sys.executable, "-m", "locust", "-f", str(LOADTESTS / file), *options]


def locust(folder: Path, *options: str, file: str = "locustfile.py", workers: int = 0) -> Done:
    """Runs a test to its end. The output is that of the process that judges."""
    report = folder / "report.html"
    judging = [*command(*options, file=file), "--headless", "--only-summary", "--report", str(report)]
    port = str(free_port())
    if workers:
        judging += ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--expect-workers", str(workers)]
    started = [_worker(folder, number, port, file) for number in range(workers)]
    try:
        done = subprocess.run(
            judging, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_PATIENCE_S, check=False, cwd=folder
        )
        for worker in started:
            worker.wait(_PATIENCE_S)
    finally:
        for worker in started:
            worker.kill()
            worker.wait()
    return Done(done.returncode, done.stdout, report)


def _worker(folder: Path, number: int, port: str, file: str) -> subprocess.Popen[bytes]:
    worker = command("--worker", "--master-host", "127.0.0.1", "--master-port", port, file=file)
    with (folder / f"worker-{number}.log").open("wb") as log:
        return subprocess.Popen(worker, stdout=log, stderr=log, cwd=folder, env={**os.environ, "PYTHONUNBUFFERED": "1"})
