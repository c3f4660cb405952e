"""A real `limiter serve` on free ports for the duration of a `with` block."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from support.waiting import eventually

TOKEN = "admin-token-of-the-tests"  # noqa: S105 - for sidecars of tests only
_PATIENCE_S = 30


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


class Reply:
    """A complete response."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.body)


class Sidecar:
    """`front` and `admin` are URLs; `started` is the log line of the start."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, output: Path, started: dict) -> None:
        self.process, self.started = process, started
        self._log, self._output = log, output
        self.front, self.admin = started["front"], started["admin"]

    @property
    def port(self) -> int:
        return int(self.front.rpartition(":")[2])

    @property
    def log(self) -> list[dict]:
        return lines_of(self._log)

    @property
    def raw_log(self) -> bytes:
        return self._log.read_bytes()

    @property
    def output(self) -> str:
        """Everything on standard output so far."""
        return self._output.read_text()

    @property
    def workers(self) -> list[int]:
        """The processes of the workers."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stops the process and returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(_PATIENCE_S)

    def ask(self, path: str = "/authorize", *, method: str = "GET", key: str | None = None, headers=None, body=None) -> Reply:
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        return ask(self.front, path, method, sent, body)

    def decide(self, verb: str, **asked) -> Reply:
        return ask(self.front, f"/v1/{verb}", "POST", {"Content-Type": "application/json"}, json.dumps(asked))

    def manage(self, path: str, method: str = "GET", token: str = TOKEN) -> Reply:
        return ask(self.admin, path, method, {"Authorization": f"Bearer {token}"})


def ask(base: str, path: str, method: str = "GET", headers=None, body=None) -> Reply:
    connection = http.client.HTTPConnection(base.partition("://")[2], timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        return Reply(connection.getresponse())
    finally:
        connection.close()


def lines_of(log: Path) -> list[dict]:
    # The last line may be incomplete; lines for the terminal are not JSON.
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]


@contextmanager
def sidecar(
    folder: Path, config: str | None = None, *arguments: str, redis: str | None = None, env=None, descriptors=None
) -> Iterator[Sidecar]:
    """Writes `config` to `limiter.yaml` in the folder. Without a `redis` URL, the sidecar starts its own Redis.

    `descriptors` is the most files that it may have open.
    """
    command = ["prlimit", f"--nofile={descriptors}:{descriptors}"] if descriptors else []
    command += [sys.executable, "-P", "-m", "limiter.api.cli.main", "serve", "--port", "0", "--admin-port", "0"]
    command += ["--data", str(folder / "data")]
    if config is not None:
        (folder / "limiter.yaml").write_text(config)
        command += ["--config", str(folder / "limiter.yaml")]
    if redis is not None:
        command += ["--redis", redis]
    log, output = folder / "log", folder / "output"
    environment = {**os.environ, "LIMITER_ADMIN_TOKEN": TOKEN, **(env or {})}
    environment.pop("LIMITER_REDIS_URL", None)
    with log.open("wb") as to_log, output.open("wb") as to_output:
        process = subprocess.Popen([*command, *arguments], stdout=to_output, stderr=to_log, env=environment)
    try:
        yield Sidecar(process, log, output, _started(process, log))
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _started(process: subprocess.Popen[bytes], log: Path) -> dict:
    def line() -> dict | None:
        assert process.poll() is None, f"limiter serve ended with {process.returncode}:\n{log.read_text()}"
        return next((each for each in lines_of(log) if each.get("event") == "serving"), None)

    return eventually(line, "the sidecar's start")
