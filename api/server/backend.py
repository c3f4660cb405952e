"""The Redis behind the sidecar: an external one or the embedded one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
import structlog

from limiter.api.command_errors import Misused
from limiter.api.registry import connected
from limiter.api.server.embedded import answers, embedded_redis
from limiter.errors import InvalidPolicy
from limiter.transport.connections import async_factory

_log = structlog.get_logger("limiter.backend")


@dataclass(frozen=True, slots=True)
class Backend:
    """`where` is its URL without credentials; `version` is empty if it did not answer at the start."""

    url: str
    where: str
    version: str

    async def answers(self, within: float) -> bool:
        """Whether it answers a PING within this many seconds, on a new connection, as those in use may be busy."""
        async with connected(self.url, within) as client:
            return await answers(client)


@asynccontextmanager
async def open_backend(url: str | None, folder: Path) -> AsyncIterator[Backend]:
    """The Redis at `url`; without a URL, an embedded Redis with its data in the folder."""
    if url is None:
        async with embedded_redis(folder) as embedded:
            version, _ = await _describe(embedded)
            yield Backend(embedded, f"embedded, data in {folder}", version)
        return
    try:
        async_factory(url)
    except InvalidPolicy as error:
        raise Misused(str(error)) from None
    version, eviction = await _describe(url)
    if eviction not in ("noeviction", ""):
        _log.warning("Redis may evict counts when its memory is full: set its maxmemory-policy to noeviction", maxmemory_policy=eviction)
    yield Backend(url, without_credentials(url), version)


async def _describe(url: str) -> tuple[str, str]:
    """Its version and its maxmemory-policy; both are empty if it does not answer."""
    try:
        async with connected(url) as client:
            info = await client.info()
    except (redis.RedisError, OSError) as error:
        _log.warning("Redis does not answer: the failure modes of the policies apply", reason=str(error))
        return "", ""
    return str(info.get("redis_version", "")), str(info.get("maxmemory_policy", ""))


def without_credentials(url: str) -> str:
    """`redis://user:secret@cache:6379/0` becomes `redis://cache:6379/0`."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
