"""A private redis-server on a free port for the duration of a `with` block."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """One redis-server. `stop` and `start` keep the port and, with `append_only`, the data."""

    def __init__(self, folder: Path, *, append_only: bool = False, options: tuple[str, ...] = ()) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = ("--appendonly", "yes" if append_only else "no", *options)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError("redis-server is not on PATH; `make test` installs it on Debian (package redis-server)")
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder, *self._options],
                stdout=log,
                stderr=log,
            )
        self._await_answer()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + 10
        with redis.Redis(port=self.port, retry=None, socket_timeout=1) as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    if time.monotonic() > deadline:
                        raise RuntimeError((self.folder / "redis.log").read_text()) from None
                    time.sleep(0.02)
                else:
                    return

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                # Hung, perhaps in the script under test.
                self._process.kill()
                self._process.wait()
            self._process = None

    def client(self, **options) -> redis.Redis:
        return redis.Redis.from_url(self.url, **options)


@contextmanager
def redis_server(*, append_only: bool = False, options: tuple[str, ...] = ()) -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), append_only=append_only, options=options)
        server.start()
        try:
            yield server
        finally:
            server.stop()
