"""A redis-server whose clock is set by a test and otherwise stands still. Everything else runs as for users."""

import mmap
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from support.clock import NOON, SECOND
from support.servers.redis_server import RedisServer

_SHIM = Path(__file__).with_suffix(".c")


class SetClock:
    """`clock.advance(60)` moves Redis's time forward by a minute."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), 8)
        self.now_us = NOON

    @property
    def now_us(self) -> int:
        return struct.unpack("<q", self._shared)[0]

    @now_us.setter
    def now_us(self, value: int) -> None:
        self._shared[:] = struct.pack("<q", value)

    def advance(self, seconds: float) -> None:
        self.now_us += round(seconds * SECOND)


@contextmanager
def redis_with_set_clock() -> Iterator[tuple[RedisServer, SetClock]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", folder / "clock.so", _SHIM], check=True)
        clock = SetClock(folder / "clock")
        server = RedisServer(folder)
        with mock.patch.dict(os.environ, LD_PRELOAD=str(folder / "clock.so"), CLOCK_FILE=str(folder / "clock")):
            server.start()
        try:
            yield server, clock
        finally:
            server.stop()
