"""The measured servers: each a process on a free loopback port, stopped at the end of the bench."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benches.private_redis import free_port

_LOADTESTS = Path(__file__).resolve().parents[1]
_START_S = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    port: int
    process: psutil.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> float:
        """Seconds of CPU time used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def served(command: Sequence[str], port: int, log: Path) -> Iterator[Server]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=_LOADTESTS, stdout=output, stderr=output)  # noqa: S603 - a fixed command, below
    try:
        _await_port(process, port, log)
        yield Server(port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(20)


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
        else:
            return


class Servers:
    """Starts servers that run until the stack closes."""

    def __init__(self, stack: ExitStack, folder: Path, redis_url: str) -> None:
        self._stack, self._folder, self._redis_url = stack, folder, redis_url

    def app(self, name: str, upstream: str = "") -> Server:
        port = free_port()
        return self._start([sys.executable, "-m", "benches.http_apps", name, str(port), self._redis_url, upstream], port)

    def sidecar(self, config: str, *options: str) -> Server:
        port = free_port()
        path = self._folder / f"{port}.yaml"
        path.write_text(config, "utf-8")
        command = [sys.executable, "-m", "limiter.api.cli.main", "serve", "--config", str(path), "--redis", self._redis_url]
        return self._start([*command, "--port", str(port), "--admin-port", "0", *options], port)

    def _start(self, command: Sequence[str], port: int) -> Server:
        return self._stack.enter_context(served(command, port, self._folder / f"{port}.log"))


def config(policies: dict[str, list[str]], keys: dict[str, str]) -> str:
    """The configuration of a sidecar, as JSON, which is YAML. `policies` has the limits by policy, `keys` the policy by raw key."""
    listed = [
        {
            "name": f"key-{number}",
            "digest": f"sha256:{hashlib.sha256(key.encode()).hexdigest()}",
            "account": f"account-{number}",
            "tier": tier,
        }
        for number, (key, tier) in enumerate(keys.items())
    ]
    return json.dumps(
        {
            "policies": {name: {"limits": limits} for name, limits in policies.items()},
            "tiers": {name: {"key": name} for name in policies},
            "identify": {"order": ["bearer"]},
            # A busy machine must not count as an outage.
            "redis": {"deadline": "10s"},
            "keys": listed,
        }
    )
