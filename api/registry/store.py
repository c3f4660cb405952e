"""The registry's data in Redis: an account's records are read together, and replaced only if they still are as they were read.

`lim:{acme}:gen`       the generation: the time of the last change to the account or its keys; takes are guarded by it
`lim:{acme}:records`   hash: the account's record under `account`, each key's record under its id
`lim:{acme}:ids`       sorted set of the keys' ids, for listing in order of creation
`lim:{acme}:used`      hash: when each key was last used
`lim:key:<digest>`     `acme <id>`: the key that has this digest
`lim:accounts`         sorted set of all accounts
`lim:audit`            stream of changes; `lim:refused`: of refused requests

The names of one account share a slot of a Redis Cluster; the names that lead to accounts do not.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from typing import Any, TypeVar

import redis
from redis.exceptions import AuthenticationError, NoPermissionError

from limiter.api.registry.records import Account, Key, decode_account, decode_key
from limiter.api.registry.registry_errors import Conflict, UnknownAccount, UnknownKey
from limiter.errors import ACCESS_DENIED, BackendError, BackendTimeout
from limiter.protocol.call import Clock

ACCOUNT = "account"
# Of changes made from the same reading one succeeds, and the others read again. More than this many in a row is not chance.
_ATTEMPTS = 10

T = TypeVar("T")


class Names:
    def __init__(self, prefix: str = "lim") -> None:
        self.prefix = prefix
        self.accounts, self.audit, self.refused = f"{prefix}:accounts", f"{prefix}:audit", f"{prefix}:refused"

    def generation(self, account: str) -> str:
        return f"{self.prefix}:{{{account}}}:gen"

    def records(self, account: str) -> str:
        return f"{self.prefix}:{{{account}}}:records"

    def ids(self, account: str) -> str:
        return f"{self.prefix}:{{{account}}}:ids"

    def used(self, account: str) -> str:
        return f"{self.prefix}:{{{account}}}:used"

    def pointer(self, digest: str) -> str:
        return f"{self.prefix}:key:{digest}"


@dataclass(frozen=True, slots=True)
class Reading:
    """Records of an account as text, all of the same moment, and Redis's time then. A record that does not exist is ""."""

    account_id: str
    now_us: int
    generation: int
    records: dict[str, str]
    used: dict[str, str]

    def check_account(self) -> None:
        if not self.records[ACCOUNT]:
            raise UnknownAccount(self.account_id)

    @property
    def account(self) -> Account:
        self.check_account()
        return decode_account(self.account_id, self.records[ACCOUNT])

    @property
    def keys(self) -> tuple[Key, ...]:
        """Without those that no longer exist."""
        return tuple(self.key(each) for each, record in self.records.items() if record and each != ACCOUNT)

    def key(self, key_id: str) -> Key:
        if not self.records[key_id]:
            raise UnknownKey(key_id, self.account_id)
        return decode_key(self.account_id, key_id, self.records[key_id], self.used[key_id])


@dataclass(frozen=True, slots=True)
class Write:
    """A record as it was read and as it becomes; "" means that it does not exist."""

    field: str
    before: str
    after: str


class Store:
    """`clock` replaces Redis's time in tests. The audit keeps the last `audited` changes, or a few more."""

    def __init__(self, client: Any, names: Names, *, clock: Clock | None = None, audited: int = 100_000) -> None:
        self.client, self.names, self.clock = client, names, clock
        self._audited = audited
        self._change, self._delete, self._claim, self.used_script = (
            client.register_script(script_source(name)) for name in ("change", "delete", "claim", "used")
        )

    async def read(self, account: str, *ids: str) -> Reading:
        """In one transaction, so that the generation is that of the records."""
        fields = (ACCOUNT, *ids)
        with backend():
            pipe = self.client.pipeline(transaction=True)
            pipe.get(self.names.generation(account)).hmget(self.names.records(account), fields)
            pipe.hmget(self.names.used(account), fields).time()
            generation, records, used, time = await pipe.execute()
        return Reading(
            account,
            self._us(*time),
            int(generation or 0),
            dict(zip(fields, map(text, records), strict=True)),
            dict(zip(fields, map(text, used), strict=True)),
        )

    async def change(self, account: str, writes: Sequence[Write], entry: Mapping[str, str], until_us: int | None = None) -> bool:
        """Writes the records and the audit entry; False if a record has changed since it was read, or `until_us` has passed."""
        records = [part for write in writes for part in (write.field, write.before, write.after)]
        until = "" if until_us is None else until_us
        with backend():
            args = [self.now, until, self._audited, len(writes), *records, *chain(*entry.items())]
            return int(await self._change(keys=self.keys_of(account), args=args)) > 0

    async def delete(self, account: str, record: str, most_keys: int, entry: Mapping[str, str]) -> int:
        """The generation at the end; 0 if the record has changed since it was read, -1 if the account has more keys."""
        with backend():
            args = [self.now, record, most_keys, self._audited, *chain(*entry.items())]
            return int(await self._delete(keys=self.keys_of(account), args=args))

    async def retry(self, account: str, attempt: Callable[[], Awaitable[T | None]]) -> T:
        """The result of the first attempt that returns one. An attempt returns None if its reading was out of date."""
        for _ in range(_ATTEMPTS):
            result = await attempt()
            if result is not None:
                return result
        raise Conflict(f"account {account!r} was changed by others during each of {_ATTEMPTS} attempts: try again")

    async def now_us(self) -> int:
        with backend():
            return self._us(*await self.client.time())

    async def ids(self, account: str, after: str, count: int) -> list[str]:
        with backend():
            found = await self.client.zrange(self.names.ids(account), f"({after}" if after else "-", "+", bylex=True, offset=0, num=count)
        return [text(each) for each in found]

    async def pointer(self, digest: str) -> str:
        with backend():
            return text(await self.client.get(self.names.pointer(digest)))

    async def claim(self, digest: str, before: str, after: str) -> bool:
        """Points the digest at `after` if it still points at `before`."""
        with backend():
            return bool(await self._claim(keys=[self.names.pointer(digest)], args=[before, after]))

    async def release(self, key: Key) -> None:
        """Deletes the pointer to the key, unless it points at another key by now."""
        await self.claim(key.digest, key.pointer, "")

    def keys_of(self, account: str) -> list[str]:
        """The KEYS of the scripts that change an account."""
        names = self.names
        return [names.generation(account), names.records(account), names.ids(account), names.used(account), names.audit]

    @property
    def now(self) -> str:
        """The time as an argument of a script; "" means Redis's own."""
        return str(self.clock()) if self.clock else ""

    def _us(self, seconds: int, us: int) -> int:
        return self.clock() if self.clock else int(seconds) * 1_000_000 + int(us)


def script_source(name: str) -> str:
    return files("limiter.lua").joinpath("registry", f"{name}.lua").read_text("utf-8")


@contextmanager
def backend() -> Iterator[None]:
    """Raises redis-py's errors as ours."""
    try:
        yield
    except (redis.TimeoutError, TimeoutError):
        raise BackendTimeout("Redis did not answer within the deadline; a change may have been made or not: read the record") from None
    except (AuthenticationError, NoPermissionError) as error:
        raise BackendError(f"{ACCESS_DENIED}: {error}") from None
    except (redis.RedisError, OSError) as error:
        raise BackendError(f"Redis failed: {error}") from None


def text(value: bytes | str | None) -> str:
    """A reply as text, whether or not the client decodes replies."""
    return value.decode() if isinstance(value, bytes) else value or ""
