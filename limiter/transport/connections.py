"""Connections to Redis: redis-py opens them, from a URL or with the options of the caller's client.

Two things differ from redis-py's defaults. Nothing is retried, because a command that is sent twice charges twice. And redis-py only
opens the socket (TLS, unix paths, Sentinel); the handshake is ours, as `introduction`, so that the caller's deadline covers it.
"""

import errno
import os
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider
from redis.retry import Retry

from limiter.errors import BackendError, InvalidPolicy, OutOfDescriptors
from limiter.protocol.conversation import Conversation, accepted
from limiter.protocol.resp import pack

_OURS = {
    "retry_on_timeout": False,
    "retry_on_error": [],
    "health_check_interval": 0,
    "decode_responses": False,
    "protocol": 2,
    # Otherwise redis-py reads its own version from a file for each connection.
    "driver_info": None,
    # Replaces redis-py's handshake by a no-op.
    "redis_connect_func": id,
}


def introduction(connection: Any, credentials: tuple[str, ...]) -> Conversation[None]:
    if credentials:
        accepted((yield pack("AUTH", *credentials)))
    if connection.db:
        accepted((yield pack("SELECT", str(connection.db))))


def unconnected(error: Exception) -> BackendError:
    """The error to raise if a connection cannot be opened."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as shortage:
        if shortage.errno in (errno.EMFILE, errno.ENFILE):
            return OutOfDescriptors("cannot connect to Redis: this process has no file descriptor left: raise its limit (ulimit -n)")
    return BackendError(f"cannot connect to Redis: {error}")


def provider_of(connection: Any) -> CredentialProvider | None:
    if connection.credential_provider:
        provider: CredentialProvider = connection.credential_provider
        return provider
    if connection.username or connection.password:
        return UsernamePasswordCredentialProvider(connection.username, connection.password)
    return None


def sync_factory(source: str | redis.Redis) -> Callable[[], redis.Connection]:
    pool = _pool(source, redis.Redis, "redis.Redis")
    return _factory(pool, Retry(NoBackoff(), 0))


def async_factory(source: str | redis.asyncio.Redis) -> Callable[[], redis.asyncio.Connection]:
    pool = _pool(source, redis.asyncio.Redis, "redis.asyncio.Redis")
    return _factory(pool, AsyncRetry(NoBackoff(), 0))


def _pool(source: Any, client: Any, name: str) -> Any:
    if isinstance(source, str):
        try:
            return client.from_url(source).connection_pool
        except ValueError as error:
            raise InvalidPolicy(f"Redis URL {_without_password(source)!r} is not valid: {error}") from None
    if isinstance(source, client):
        return source.connection_pool
    raise InvalidPolicy(f"source must be a URL such as 'redis://localhost' or a {name}, not {type(source).__name__}")


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://***@{tail}" if at else url


def _factory(pool: Any, retry: Any) -> Callable[[], Any]:
    options = {**pool.connection_kwargs, **_OURS, "retry": retry}
    make = pool.connection_class
    return lambda: make(**options)
