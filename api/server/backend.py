"""The Redis behind the sidecar: one that is named, or our own; and what is to be known of it at the start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from limiter.api.command_errors import Misused
from limiter.api.server.embedded import embedded_redis
from limiter.errors import InvalidPolicy
from limiter.transport.connections import async_factory

_log = structlog.get_logger("limiter.backend")

_PATIENCE_S = 2.0
_KEEPS_ALL = "noeviction"


@dataclass(frozen=True, slots=True)
class Backend:
    """`where` names it without its password; `version` is empty as long as it does not answer."""

    url: str
    where: str
    version: str

    async def answers(self, within: float) -> bool:
        """A PING on a connection of its own, as those in use may be busy."""
        try:
            async with redis.asyncio.Redis.from_url(
                self.url, socket_timeout=within, socket_connect_timeout=within, retry=Retry(NoBackoff(), 0)
            ) as client:
                await client.ping()
        except (redis.RedisError, OSError):
            return False
        return True


@asynccontextmanager
async def open_backend(url: str | None, folder: Path) -> AsyncIterator[Backend]:
    """The Redis at `url`, or without one our own, in that folder."""
    if url is None:
        async with embedded_redis(folder) as own:
            version, _ = await _look(own)
            yield Backend(own, f"embedded, data in {folder}", version)
        return
    try:
        async_factory(url)
    except InvalidPolicy as error:
        raise Misused(str(error)) from None
    version, eviction = await _look(url)
    if eviction not in (_KEEPS_ALL, ""):
        _log.warning("Redis may drop counts when its memory is full: set its maxmemory-policy to noeviction", maxmemory_policy=eviction)
    yield Backend(url, place_of(url), version)


async def _look(url: str) -> tuple[str, str]:
    """Its version and maxmemory-policy; both empty if it does not answer, which is no reason not to start."""
    try:
        async with redis.asyncio.Redis.from_url(
            url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S, retry=Retry(NoBackoff(), 0)
        ) as client:
            server, memory = await client.info("server"), await client.info("memory")
    except (redis.RedisError, OSError) as error:
        _log.warning("Redis does not answer: requests are answered by their policies' failure modes", reason=str(error))
        return "", ""
    return str(server.get("redis_version", "")), str(memory.get("maxmemory_policy", ""))


def place_of(url: str) -> str:
    """`redis://user:secret@cache:6379/0` is `redis://cache:6379/0`."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
