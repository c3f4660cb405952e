"""The registry: `registry.accounts`, `registry.keys`, and `registry.audit`, the log of their changes.

Each change is one script call, which raises the account's generation. What leads to a record from elsewhere, the pointer to a key or the
list of accounts, is written before the record and deleted after it. If a process dies in between, it leads to no record: a lookup
(`lookups.py`) then finds nothing, and the next import or account of the same name takes its place.
"""

from collections.abc import Callable
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from limiter.api.registry.accounts import Accounts
from limiter.api.registry.audit import Audit
from limiter.api.registry.key_format import KeyFormat
from limiter.api.registry.keyring import Keyring
from limiter.api.registry.store import Names, Store
from limiter.api.registry.validation import Catalog
from limiter.protocol.call import Clock


class Registry:
    """`Registry(client, key_format=KeyFormat.from_environment("ff"))`.

    `catalog` is called at each change, because the configuration may have changed. The audit names the `actor`, and keeps the last
    `audited` changes, or a few more. `clock` is for tests.
    """

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = "lim",
        key_format: KeyFormat | None = None,
        catalog: Callable[[], Catalog] = Catalog,
        actor: str = "",
        clock: Clock | None = None,
        audited: int = 100_000,
    ) -> None:
        self.key_format = key_format or KeyFormat()
        self.names = Names(prefix)
        self.store = Store(client, self.names, clock=clock, audited=audited)
        self.accounts = Accounts(self.store, catalog, actor)
        self.keys = Keyring(self.store, self.key_format, catalog, actor)
        self.audit = Audit(client, self.names)

    async def now_us(self) -> int:
        return await self.store.now_us()


def connected(url: str, timeout: float = 2.0) -> redis.asyncio.Redis:
    """A client for the registry: it repeats no command, and waits at most `timeout` seconds."""
    return redis.asyncio.Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        protocol=2,
    )
