"""The registry: `registry.accounts`, `registry.keys`, and the `registry.audit` of what was done to them.

Every change is one script call, that bumps the generation of the account. What leads to a record from elsewhere, a key's pointer or the
list of accounts, is written before it and removed after it: broken off in between, it leads to nothing, which a look-up takes for
unknown and the next one who needs the place takes over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from limiter.api.registry.accounts import Accounts
from limiter.api.registry.audit import Audit
from limiter.api.registry.codec import decode_account, decode_key
from limiter.api.registry.form import Form
from limiter.api.registry.identity import Identity
from limiter.api.registry.keyring import Keyring
from limiter.api.registry.known import Known
from limiter.api.registry.names import Names
from limiter.api.registry.pointers import Pointers
from limiter.api.registry.store import Store
from limiter.protocol.call import Clock
from limiter.protocol.group import Guard


class Registry:
    """`Registry(client, form=Form.from_environment("ff"))`; `actor` is told in the audit, which keeps the latest
    `audited` changes or a few more; `clock` is for tests.

    `known` is asked at each change, as a configuration may change as well.

    On a Redis Cluster say `cluster=True`: an audit entry is then written in a call of its own, after the change.
    """

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = "lim",
        form: Form | None = None,
        known: Callable[[], Known] = Known,
        actor: str = "",
        clock: Clock | None = None,
        cluster: bool = False,
        audited: int = 100_000,
    ) -> None:
        self.form = form or Form()
        self.names = Names(prefix)
        self.store = Store(client, self.names, clock=clock, cluster=cluster, audited=audited)
        pointers = Pointers(self.store)
        self.accounts = Accounts(self.store, pointers, known, actor)
        self.keys = Keyring(self.store, pointers, self.form, known, actor)
        self.audit = Audit(client, self.names)

    async def now_us(self) -> int:
        """Redis's time."""
        return await self.store.now_us()

    async def look_up(self, digest: str) -> Identity | None:
        """Whose key this is, as it stands now; two round trips."""
        pointed = await self.store.pointer(digest)
        if not pointed:
            return None
        account, _, key_id = pointed.partition(" ")
        reading = await self.store.read(account, key_id)
        record = reading.records[key_id]
        if not record or not reading.account:
            return None
        key = decode_key(account, key_id, record)
        if key.digest != digest:
            return None
        guard = Guard(self.names.generation(account).encode(), reading.generation)
        return Identity(key, decode_account(account, reading.account), guard, reading.now_us)


def connected(url: str, timeout: float = 2.0) -> redis.asyncio.Redis:
    """A client as the registry wants it: nothing is sent twice, nothing waits longer than `timeout` seconds."""
    return redis.asyncio.Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        protocol=2,
    )
