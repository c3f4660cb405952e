"""The embedded Redis: a `redis-server` from PATH on a private unix socket, with persistent data.

Its data folder holds the append-only file (synced every second), the log, the socket, and a lock against a second sidecar.
"""

import asyncio
import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import redis
import redis.asyncio
import structlog

from limiter.api.backoff import Backoff
from limiter.api.command_errors import CannotStart
from limiter.api.data_folder import check_own, open_file, open_folder
from limiter.api.registry import connected

_log = structlog.get_logger("limiter.embedded")

# sun_path has 108 bytes, and the last is 0.
_MAX_SOCKET_PATH = 107
_START_S = 60.0
_STOP_S = 10.0
_REPLY_S = 5.0

# Paths are relative to the data folder.
_OPTIONS = {
    "--port": "0",
    "--unixsocket": "redis.sock",
    "--unixsocketperm": "700",
    "--appendonly": "yes",
    "--appendfsync": "everysec",
    "--save": "",
    "--maxmemory-policy": "noeviction",
}


def embedded_url(folder: Path) -> str:
    """The URL of the Redis of this folder, running or not."""
    return f"unix://{quote(str(_socket(folder)))}"


def _socket(folder: Path) -> Path:
    return folder.absolute() / "redis.sock"


@asynccontextmanager
async def embedded_redis(folder: Path) -> AsyncIterator[str]:
    """Runs a Redis for the length of the block, and restarts it if it ends. Yields its URL."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise CannotStart("redis-server is not on PATH: install it (on Debian: apt-get install redis-server), or set --redis")
    if len(str(_socket(folder)).encode()) > _MAX_SOCKET_PATH:
        raise CannotStart(f"the path of the data folder {folder} is too long for a unix socket: set a shorter one with --data")
    with _locked(open_folder(folder)):
        _make_private(folder)
        await _end_orphan(folder)
        server = _Server(binary, folder)
        await server.start()
        keeper = asyncio.create_task(server.keep())
        try:
            yield embedded_url(folder)
        finally:
            keeper.cancel()
            await server.stop()


class _Server:
    def __init__(self, binary: str, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        with os.fdopen(open_file(self._folder / "redis.log", os.O_WRONLY | os.O_APPEND), "ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._binary,
                *(part for option in _OPTIONS.items() for part in option),
                cwd=self._folder,
                env=_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C must not reach Redis: it is stopped after the last request.
                start_new_session=True,
            )
        await self._until_ready()

    async def keep(self) -> None:
        backoff = Backoff()
        while True:
            began = time.monotonic()
            code = await self._process.wait()
            pause = backoff.pause_after(time.monotonic() - began)
            _log.error("embedded Redis ended, restarting it", code=code, pause=pause, log=str(self._folder / "redis.log"))
            await asyncio.sleep(pause)
            try:
                await self.start()
            except (CannotStart, OSError) as error:
                _log.error("embedded Redis cannot start", reason=str(error))

    async def stop(self) -> None:
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _until_ready(self) -> None:
        until = time.monotonic() + _START_S
        async with connected(embedded_url(self._folder), _REPLY_S) as client:
            while not await answers(client):
                if self._process.returncode is not None or time.monotonic() > until:
                    raise CannotStart(f"the embedded Redis did not start: its log is {self._folder / 'redis.log'}")
                await asyncio.sleep(0.02)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks the folder against another sidecar. The kernel releases the lock when this process ends."""
    with os.fdopen(open_file(folder / "lock", os.O_RDWR), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotStart(f"another limiter uses the data folder {folder}: stop it, or set another folder with --data") from None
        yield


def _make_private(folder: Path) -> None:
    """Before anything is sent to the socket or appended to the files."""
    check_own(_socket(folder), socket=True)
    check_own(folder / "appendonly.aof")  # Redis 6
    check_own(folder / "appendonlydir", folder=True)
    for file in (folder / "appendonlydir").glob("*"):
        check_own(file)


def _environment() -> dict[str, str]:
    """Without the sidecar's tokens and its pepper, which Redis does not need."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LIMITER_")}


async def answers(client: redis.asyncio.Redis) -> bool:
    try:
        await client.ping()
    except (redis.RedisError, OSError):
        return False
    return True


async def _end_orphan(folder: Path) -> None:
    """Stops a Redis that a killed sidecar left running: a second one would overwrite its data."""
    async with connected(embedded_url(folder), _REPLY_S) as client:
        if not await answers(client):
            return
        _log.warning("stopping a Redis that an earlier limiter left running", folder=str(folder))
        with suppress(redis.RedisError):
            await client.shutdown()
        until = time.monotonic() + _STOP_S
        while await answers(client):
            if time.monotonic() > until:
                raise CannotStart(f"the Redis that an earlier limiter left running in {folder} does not stop")
            await asyncio.sleep(0.02)
