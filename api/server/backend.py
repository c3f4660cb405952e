"""The Redis behind the sidecar: an external one or the embedded one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
import structlog

from limiter.aio import AsyncLimiter
from limiter.api.command_errors import Misused
from limiter.api.data_folder import data_folder
from limiter.api.registry import connected
from limiter.api.server.embedded import embedded_redis
from limiter.errors import ACCESS_DENIED, BackendError, InvalidPolicy
from limiter.policy import Policy
from limiter.transport.connections import async_factory

_log = structlog.get_logger("limiter.backend")

_START_S = 2.0


# The shortest decision that needs every permission of a decision. At most one a second writes to Redis.
_PROBE = Policy("readiness", ["1/second"])


@dataclass(frozen=True, slots=True)
class Backend:
    """`where` is its URL without credentials; `version` is empty if it did not answer at the start."""

    url: str = field(repr=False)
    where: str
    version: str
    prefix: str

    async def failure(self, within: float) -> str | None:
        """Why Redis makes no decision within this many seconds; None if it does. On a new connection, as those in use may be busy."""
        return await _failure(self.url, self.prefix, within)


@asynccontextmanager
async def open_backend(url: str | None, data: Path | None, prefix: str = "lim") -> AsyncIterator[Backend]:
    """The Redis at `url`; without a URL, an embedded Redis with its data in the data folder."""
    if url is None:
        folder = data_folder(data)
        async with embedded_redis(folder) as embedded:
            version, _ = await _describe(embedded)
            yield Backend(embedded, f"embedded, data in {folder}", version, prefix)
        return
    try:
        async_factory(url)
    except InvalidPolicy as error:
        raise Misused(str(error)) from None
    _log_failure(await _failure(url, prefix, _START_S))
    version, eviction = await _describe(url)
    if eviction not in ("noeviction", ""):
        _log.warning("Redis may evict counts when its memory is full: set its maxmemory-policy to noeviction", maxmemory_policy=eviction)
    yield Backend(url, without_credentials(url), version, prefix)


async def _failure(url: str, prefix: str, within: float) -> str | None:
    async with AsyncLimiter(url, prefix=prefix, deadline=within) as limiter:
        try:
            await limiter.take(_PROBE, "readiness")
        except BackendError as error:
            return str(error)
    return None


def _log_failure(reason: str | None) -> None:
    if reason is None:
        return
    if reason.startswith(ACCESS_DENIED):
        _log.error(f"{ACCESS_DENIED}: check the user, the password and the permissions (docs/operations.md lists them)", reason=reason)
    else:
        _log.warning("Redis does not answer: the failure modes of the policies apply", reason=reason)


async def _describe(url: str) -> tuple[str, str]:
    """Its version and its maxmemory-policy; both are empty if it does not say."""
    try:
        async with connected(url) as client:
            info = await client.info()
    except (redis.RedisError, OSError):
        return "", ""
    return str(info.get("redis_version", "")), str(info.get("maxmemory_policy", ""))


def without_credentials(url: str) -> str:
    """`redis://user:secret@cache:6379/0` becomes `redis://cache:6379/0`."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
