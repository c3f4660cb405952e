"""What can be done to accounts. Each change is one script call, which bumps the account's generation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

from limiter.api.registry import changes, checks
from limiter.api.registry.audit import difference
from limiter.api.registry.changes import AccountChange
from limiter.api.registry.codec import decode_account, encode, keys_of
from limiter.api.registry.errors import Conflict, UnknownAccount
from limiter.api.registry.known import Known
from limiter.api.registry.pointers import Pointers, pointing_at
from limiter.api.registry.records import Account, Page, State
from limiter.api.registry.scripts import backend, text
from limiter.api.registry.store import ACCOUNT, Reading, Store, Write

# Changes made from the same reading: one wins, the others read again. More than this in a row is no accident.
TRIES = 10
_PAGE = 1000
_ANY_NUMBER = 2**53


class Accounts:
    """The list of accounts leads to them: it is written before an account, and an entry that leads to none is passed over."""

    def __init__(self, store: Store, pointers: Pointers, known: Callable[[], Known], actor: str = "") -> None:
        self._store, self._pointers, self._known, self._actor = store, pointers, known, actor

    async def create(self, account: str, **change: Unpack[AccountChange]) -> Account:
        """`create("acme", tier="pro")`."""
        reading = await self._store.read(checks.account_id(account))
        blank = Account(account, created_us=reading.now_us)
        new = changes.changed_account(blank, change, self._known())
        await self._enlist(account)
        written = await self._store.change(
            account, [Write(ACCOUNT, "", encode(new))], self._entry("create", account, difference(blank, new))
        )
        if not written:
            raise Conflict(f"there is an account {account!r} already: change that one, or choose another name")
        return new

    async def show(self, account: str) -> Account:
        return decoded(account, await self._store.read(checks.account_id(account)))

    async def list(self, cursor: str = "", count: int = 100) -> Page[Account]:
        """By name; `cursor` is that of the page before."""
        checks.page(count)
        after = f"({checks.account_id(cursor)}" if cursor else "-"
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
        """`set("acme", tier="free")`: what is left out stays."""
        return await self._alter(account, "set", lambda old: changes.changed_account(old, change, self._known()))

    async def suspend(self, account: str) -> Account:
        return await self._in_state(account, "suspend", "suspended")

    async def activate(self, account: str) -> Account:
        return await self._in_state(account, "activate", "active")

    async def delete(self, account: str, *, with_keys: bool = False) -> None:
        """Refused where it has keys, also revoked ones, unless told `with_keys`: these are unknown from then on."""
        for _ in range(TRIES):
            reading = await self._store.read(checks.account_id(account))
            decoded(account, reading)
            pointing = await self._pointing(account) if with_keys else {}
            most = _ANY_NUMBER if with_keys else 0
            deleted = await self._store.delete(account, reading.account, most, self._entry("delete", account, f"{len(pointing)} keys"))
            if deleted < 0:
                raise Conflict(f"account {account!r} has keys: revoking them is not enough, say that they are to be deleted with it")
            if deleted:
                await self._forget(account, pointing)
                return
        raise too_busy(account)

    async def _in_state(self, account: str, action: str, state: State) -> Account:
        return await self._alter(account, action, lambda old: changes.in_state(old, state))

    async def _alter(self, account: str, action: str, alter: Callable[[Account], Account]) -> Account:
        for _ in range(TRIES):
            reading = await self._store.read(checks.account_id(account))
            old = decoded(account, reading)
            new = alter(old)
            if new == old:
                return old
            write = Write(ACCOUNT, reading.account, encode(new))
            if await self._store.change(account, [write], self._entry(action, account, difference(old, new))):
                return new
        raise too_busy(account)

    async def _pointing(self, account: str) -> dict[str, str]:
        """The digests of its keys, and what they point at."""
        pointing, after = {}, ""
        while ids := await self._store.ids(account, after, _PAGE):
            for key in keys_of(account, await self._store.read(account, *ids)):
                pointing[key.digest] = pointing_at(key)
            after = ids[-1]
        return pointing

    async def _enlist(self, account: str) -> None:
        with backend():
            await self._store.client.zadd(self._store.names.accounts, {account: 0})

    async def _forget(self, account: str, pointing: dict[str, str]) -> None:
        for digest, pointed in pointing.items():
            await self._pointers.release(digest, pointed)
        with backend():
            await self._store.client.zrem(self._store.names.accounts, account)
            again = await self._store.client.hexists(self._store.names.records(account), ACCOUNT)
        if again:
            # Created anew in the meantime.
            await self._enlist(account)

    def _entry(self, action: str, account: str, detail: str) -> dict[str, str]:
        return {"action": f"accounts.{action}", "account": account, "actor": self._actor, "detail": detail}


def decoded(account: str, reading: Reading) -> Account:
    if not reading.account:
        raise UnknownAccount(account)
    return decode_account(account, reading.account)


def too_busy(account: str) -> Conflict:
    return Conflict(f"account {account!r} is being changed by others without a pause: try again")
