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

from limiter.api.command_errors import CannotStart
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


def default_folder() -> Path:
    """$XDG_DATA_HOME/limiter, or ~/.local/share/limiter."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "limiter"


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
    with _locked(folder):
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
        with (self._folder / "redis.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._binary,
                *(part for option in _OPTIONS.items() for part in option),
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C must not reach Redis: it is stopped after the last request.
                start_new_session=True,
            )
        await self._until_ready()

    async def keep(self) -> None:
        while True:
            code = await self._process.wait()
            _log.error("embedded Redis ended, restarting it", code=code, log=str(self._folder / "redis.log"))
            await asyncio.sleep(1)
            try:
                await self.start()
            except CannotStart as error:
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
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise CannotStart(f"the data folder {folder} cannot be used: {error.strerror}: set another one with --data") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotStart(f"another limiter uses the data folder {folder}: stop it, or set another folder with --data") from None
        yield


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
