"""A Redis of our own: a `redis-server` from PATH on a private unix socket, whose data outlives it.

Its folder holds the counts (append-only, written out every second), the log, the socket and a lock, so that two never share one.
"""

from __future__ import annotations

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
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from limiter.api.command_errors import CannotStart

_log = structlog.get_logger("limiter.embedded")

# sun_path holds 108 bytes, the last of them 0.
_LONGEST_SOCKET = 107
_START_S = 60.0
_STOP_S = 10.0


def default_folder() -> Path:
    """$XDG_DATA_HOME/limiter, or what that is for when unset."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "limiter"


def embedded_url(folder: Path) -> str:
    """Where the Redis of this folder answers while it runs."""
    return f"unix://{quote(str(_socket(folder)))}"


def _socket(folder: Path) -> Path:
    return folder.absolute() / "redis.sock"


@asynccontextmanager
async def embedded_redis(folder: Path) -> AsyncIterator[str]:
    """The URL of a Redis that runs as long as the block; started anew should it die."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise CannotStart("redis-server is not on PATH: install it (Debian: apt-get install redis-server), or name a Redis with --redis")
    if len(str(_socket(folder)).encode()) > _LONGEST_SOCKET:
        raise CannotStart(f"the data folder {folder} has too long a path for a socket in it: name a shorter one with --data")
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
        log = (self._folder / "redis.log").open("ab")
        with log:
            self._process = await asyncio.create_subprocess_exec(
                self._binary,
                *_options(),
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for us: Redis is stopped when the last request has been answered.
                start_new_session=True,
            )
        await self._until_ready()

    async def keep(self) -> None:
        while True:
            code = await self._process.wait()
            _log.error("the embedded Redis ended and is started again", code=code, log=str(self._folder / "redis.log"))
            await asyncio.sleep(1)
            try:
                await self.start()
            except CannotStart as error:
                _log.error("the embedded Redis does not start", reason=str(error))

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
        async with _client(self._folder) as client:
            while not await _answers(client):
                if self._process.returncode is not None or time.monotonic() > until:
                    raise CannotStart(f"the embedded Redis did not start: see {self._folder / 'redis.log'}")
                await asyncio.sleep(0.02)


def _options() -> list[str]:
    # The socket's path is relative to the folder, as is everything else.
    stated = {
        "port": "0",
        "unixsocket": "redis.sock",
        "unixsocketperm": "700",
        "dir": ".",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [part for name, value in stated.items() for part in (f"--{name}", value)]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder is ours alone; the kernel lets go of it when we end, however that is."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise CannotStart(f"the data folder {folder} cannot be used: {error.strerror}; name another with --data") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotStart(f"another limiter uses the data folder {folder}: stop it, or name another folder with --data") from None
        yield


def _client(folder: Path) -> redis.asyncio.Redis:
    return redis.asyncio.Redis(unix_socket_path=str(_socket(folder)), socket_timeout=5, retry=Retry(NoBackoff(), 0))


async def _answers(client: redis.asyncio.Redis) -> bool:
    try:
        await client.ping()
    except redis.RedisError:
        return False
    return True


async def _end_orphan(folder: Path) -> None:
    """One that outlived a sidecar that was killed: it holds the data, and would be written over."""
    async with _client(folder) as client:
        if not await _answers(client):
            return
        _log.warning("ending the Redis that an earlier limiter left behind", folder=str(folder))
        with suppress(redis.RedisError):
            await client.shutdown()
        until = time.monotonic() + _STOP_S
        while await _answers(client):
            if time.monotonic() > until:
                raise CannotStart(f"a Redis that another limiter left in {folder} does not end")
            await asyncio.sleep(0.02)
