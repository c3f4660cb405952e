"""Changes to accounts. Each is one script call, which raises the account's generation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Unpack

from limiter.api.registry import changes, validation
from limiter.api.registry.audit import difference
from limiter.api.registry.changes import AccountChange
from limiter.api.registry.records import Account, Key, Page, decode_account, encode
from limiter.api.registry.registry_errors import Conflict
from limiter.api.registry.store import ACCOUNT, Store, Write, backend, text
from limiter.api.registry.validation import Catalog

_CHUNK = 1000
_ANY_NUMBER = 2**53


class Accounts:
    """An account is in the list of accounts before its record is written. Listing skips entries that have no record."""

    def __init__(self, store: Store, catalog: Callable[[], Catalog], actor: str = "") -> None:
        self._store, self._catalog, self._actor = store, catalog, actor

    async def create(self, account: str, **change: Unpack[AccountChange]) -> Account:
        reading = await self._store.read(validation.account_id(account))
        blank = Account(account, created_us=reading.now_us)
        new = changes.changed_account(blank, change, self._catalog())
        await self._enlist(account)
        entry = self._entry("create", account, difference(blank, new))
        if not await self._store.change(account, [Write(ACCOUNT, "", encode(new))], entry):
            raise Conflict(f"account {account!r} already exists: change it, or choose another name")
        return new

    async def show(self, account: str) -> Account:
        return (await self._store.read(validation.account_id(account))).account

    async def list(self, cursor: str = "", count: int = 100) -> Page[Account]:
        """In order of their names; `cursor` is the one that the previous page returned."""
        validation.page(count)
        after = f"({validation.account_id(cursor)}" if cursor else "-"
        client, names = self._store.client, self._store.names
        with backend():
            ids = [text(each) for each in await client.zrange(names.accounts, after, "+", bylex=True, offset=0, num=count + 1)]
            pipe = client.pipeline(transaction=False)
            for each in ids[:count]:
                pipe.hget(names.records(each), ACCOUNT)
            records = [text(each) for each in await pipe.execute()]
        found = [decode_account(each, record) for each, record in zip(ids[:count], records, strict=True) if record]
        return Page(tuple(found), ids[count - 1] if len(ids) > count else "")

    async def set(self, account: str, **change: Unpack[AccountChange]) -> Account:
        """`set("acme", tier="free")`: fields that are not given keep their values."""
        return await self._alter(account, "set", lambda old: changes.changed_account(old, change, self._catalog()))

    async def suspend(self, account: str) -> Account:
        return await self._alter(account, "suspend", lambda old: replace(old, state="suspended"))

    async def activate(self, account: str) -> Account:
        return await self._alter(account, "activate", lambda old: replace(old, state="active"))

    async def delete(self, account: str, *, with_keys: bool = False) -> None:
        """Raises Conflict if the account has keys, even revoked ones, unless `with_keys`: then the keys are deleted too."""
        validation.account_id(account)

        async def attempt() -> tuple[Key, ...] | None:
            reading = await self._store.read(account)
            reading.check_account()
            keys = await self._keys_of(account) if with_keys else ()
            entry = self._entry("delete", account, f"{len(keys)} keys")
            deleted = await self._store.delete(account, reading.records[ACCOUNT], _ANY_NUMBER if with_keys else 0, entry)
            if deleted < 0:
                raise Conflict(f"account {account!r} has keys, possibly revoked ones: delete them with the account")
            return keys if deleted else None

        await self._clean_up(account, await self._store.retry(account, attempt))

    async def _alter(self, account: str, action: str, alter: Callable[[Account], Account]) -> Account:
        async def attempt() -> Account | None:
            reading = await self._store.read(validation.account_id(account))
            old = reading.account
            new = alter(old)
            write = Write(ACCOUNT, reading.records[ACCOUNT], encode(new))
            entry = self._entry(action, account, difference(old, new))
            return new if new == old or await self._store.change(account, [write], entry) else None

        return await self._store.retry(account, attempt)

    async def _keys_of(self, account: str) -> tuple[Key, ...]:
        keys: tuple[Key, ...] = ()
        after = ""
        while ids := await self._store.ids(account, after, _CHUNK):
            keys += (await self._store.read(account, *ids)).keys
            after = ids[-1]
        return keys

    async def _enlist(self, account: str) -> None:
        with backend():
            await self._store.client.zadd(self._store.names.accounts, {account: 0})

    async def _clean_up(self, account: str, keys: tuple[Key, ...]) -> None:
        for key in keys:
            await self._store.release(key)
        client, names = self._store.client, self._store.names
        with backend():
            await client.zrem(names.accounts, account)
            created_again = await client.hexists(names.records(account), ACCOUNT)
        if created_again:
            await self._enlist(account)

    def _entry(self, action: str, account: str, detail: str) -> dict[str, str]:
        return {"action": f"accounts.{action}", "account": account, "actor": self._actor, "detail": detail}
