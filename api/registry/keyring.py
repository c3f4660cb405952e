"""What can be done to keys. Each change is one script call, which bumps the account's generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Unpack

from limiter.api.registry import changes, checks
from limiter.api.registry.accounts import TRIES, decoded, too_busy
from limiter.api.registry.audit import difference
from limiter.api.registry.changes import KeyChange
from limiter.api.registry.codec import decode_key, encode, keys_of
from limiter.api.registry.errors import UnknownKey
from limiter.api.registry.form import Form
from limiter.api.registry.known import Known
from limiter.api.registry.pointers import WRITTEN_WITHIN_US, Pointers, pointing_at
from limiter.api.registry.records import Issued, Key, Page
from limiter.api.registry.store import ACCOUNT, Reading, Store, Write

_PAGE = 1000


class Keyring:
    def __init__(self, store: Store, pointers: Pointers, form: Form, known: Callable[[], Known], actor: str = "") -> None:
        self._store, self._pointers, self._form, self._known, self._actor = store, pointers, form, known, actor

    async def issue(self, account: str, environment: str = "live", **change: Unpack[KeyChange]) -> Issued:
        """A new key, its raw form included: it is not to be had again. A test key ends after 7 days unless `lifetime` is given."""
        raw = self._form.generate(checks.environment(environment))
        digest, shown = self._form.digest(raw), self._form.shown(raw)
        return Issued(raw, await self._add(account, environment, digest, shown, "issue", change))

    async def adopt(self, account: str, raw: str, environment: str = "live", **change: Unpack[KeyChange]) -> Key:
        """A key that was made elsewhere: any text of up to 512 bytes. It is not kept."""
        checks.foreign_key(raw, self._form)
        return await self._add(account, environment, self._form.digest(raw), self._form.shown(raw), "import", change)

    async def adopt_digest(self, account: str, sha256: str, environment: str = "live", **change: Unpack[KeyChange]) -> Key:
        """As `adopt`, from nothing but the key's SHA-256 in hexadecimal."""
        digest = self._form.digest_of_sha256(checks.sha256_digest(sha256))
        return await self._add(account, environment, digest, "", "import", change)

    async def find(self, raw: str) -> Key:
        """Whose key this is."""
        pointed = await self._store.pointer(self._form.digest(raw))
        account, _, key_id = pointed.partition(" ")
        if not pointed:
            raise UnknownKey
        return await self.show(account, key_id)

    async def show(self, account: str, key_id: str) -> Key:
        return (await self._read(account, key_id))[1]

    async def list(self, account: str, cursor: str = "", count: int = 100) -> Page[Key]:
        """In the order of creation; `cursor` is that of the page before."""
        checks.page(count)
        after = checks.key_id(cursor) if cursor else ""
        ids = await self._store.ids(checks.account_id(account), after, count + 1)
        reading = await self._store.read(account, *ids[:count])
        decoded(account, reading)
        return Page(keys_of(account, reading), ids[count - 1] if len(ids) > count else "")

    async def set(self, account: str, key_id: str, **change: Unpack[KeyChange]) -> Key:
        """`set("acme", id, name="deploy", scopes=["asset:read"])`: what is left out stays."""
        return await self._alter(account, key_id, "set", lambda old, now_us: changes.changed_key(old, change, self._known(), now_us))

    async def revoke(self, account: str, key_id: str) -> Key:
        """For good, and effective for every request that starts after this returns."""
        return await self._alter(account, key_id, "revoke", changes.revoked)

    async def rotate(self, account: str, key_id: str, overlap: float = 0) -> Issued:
        """A new key like this one, which stays valid for `overlap` seconds: 259,200 for 72 hours."""
        for _ in range(TRIES):
            reading, old = await self._read(account, key_id)
            ended, new = changes.rotated(old, overlap, reading.now_us)
            raw = self._form.generate(new.environment)
            new = replace(new, digest=self._form.digest(raw), shown=self._form.shown(raw))
            writes = [Write(key_id, reading.records[key_id], encode(ended)), Write(new.id, "", encode(new))]
            if await self._written(new, writes, "rotate", key_id, f"to {new.id}, overlap {overlap:g} s"):
                return Issued(raw, new)
        raise too_busy(account)

    async def tidy(self, account: str, older_than: float = 90 * 86400) -> int:
        """Delete keys that ended, by revocation or expiry, longer ago than `older_than` seconds; how many."""
        age_us, removed, after = int(checks.seconds(older_than, "age") * 1_000_000), 0, ""
        while ids := await self._store.ids(checks.account_id(account), after, _PAGE):
            reading = await self._store.read(account, *ids)
            for key in keys_of(account, reading):
                if key.ended_by(reading.now_us - age_us):
                    removed += await self._removed(key, reading.records[key.id])
            after = ids[-1]
        return removed

    async def _add(self, account: str, environment: str, digest: str, shown: str, action: str, change: KeyChange) -> Key:
        for _ in range(TRIES):
            reading = await self._store.read(checks.account_id(account))
            decoded(account, reading)
            key = changes.new_key(account, environment, change, self._known(), reading.now_us)
            key = replace(key, digest=digest, shown=shown)
            # The account is written as it was read: so it is still there, and what it was.
            writes = [Write(ACCOUNT, reading.account, reading.account), Write(key.id, "", encode(key))]
            if await self._written(key, writes, action, key.id, f"{key.environment} {key.name!r}"):
                return key
        raise too_busy(account)

    async def _written(self, new: Key, writes: Sequence[Write], action: str, key_id: str, detail: str) -> bool:
        """With what leads to the new key, or without a trace."""
        await self._pointers.claim(new)
        entry = self._entry(action, new.account, key_id, detail)
        if await self._store.change(new.account, writes, entry, new.created_us + WRITTEN_WITHIN_US):
            return True
        if (await self._store.read(new.account, new.id)).records[new.id] == encode(new):
            # It was written, and a client that repeats what got no answer has asked twice.
            return True
        await self._pointers.release(new.digest, pointing_at(new))
        return False

    async def _alter(self, account: str, key_id: str, action: str, alter: Callable[[Key, int], Key]) -> Key:
        for _ in range(TRIES):
            reading, old = await self._read(account, key_id)
            new = alter(old, reading.now_us)
            if new == old:
                return old
            entry = self._entry(action, account, key_id, difference(old, new))
            if await self._store.change(account, [Write(key_id, reading.records[key_id], encode(new))], entry):
                return new
        raise too_busy(account)

    async def _removed(self, key: Key, record: str) -> bool:
        entry = self._entry("tidy", key.account, key.id, "")
        if not await self._store.change(key.account, [Write(key.id, record, "")], entry):
            return False
        await self._pointers.release(key.digest, pointing_at(key))
        return True

    async def _read(self, account: str, key_id: str) -> tuple[Reading, Key]:
        reading = await self._store.read(checks.account_id(account), checks.key_id(key_id))
        decoded(account, reading)
        record = reading.records[key_id]
        if not record:
            raise UnknownKey(key_id, account)
        return reading, decode_key(account, key_id, record, reading.used[key_id])

    def _entry(self, action: str, account: str, key_id: str, detail: str) -> dict[str, str]:
        return {"action": f"keys.{action}", "account": account, "key": key_id, "actor": self._actor, "detail": detail}
