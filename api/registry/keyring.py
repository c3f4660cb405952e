"""Changes to keys. Each is one script call, which raises the generation of the key's account.

A digest leads to its key by a pointer, which is claimed before the key is written. The key must be written within `_WRITTEN_WITHIN_US`;
after twice that time, a pointer that leads to no key may be claimed again. So no digest ever has two keys, and an import that was
interrupted does not block the key for good.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Unpack

from limiter.api.registry import changes, validation
from limiter.api.registry.audit import difference
from limiter.api.registry.changes import KeyChange
from limiter.api.registry.key_format import KeyFormat
from limiter.api.registry.records import Issued, Key, Page, decode_key, encode
from limiter.api.registry.registry_errors import Conflict, UnknownKey
from limiter.api.registry.store import ACCOUNT, Reading, Store, Write
from limiter.api.registry.validation import Catalog

_CHUNK = 1000
_WRITTEN_WITHIN_US = 5_000_000
_SURELY_OVER_US = 2 * _WRITTEN_WITHIN_US


class Keyring:
    def __init__(self, store: Store, key_format: KeyFormat, catalog: Callable[[], Catalog], actor: str = "") -> None:
        self._store, self._format, self._catalog, self._actor = store, key_format, catalog, actor

    async def issue(self, account: str, environment: str = "live", **change: Unpack[KeyChange]) -> Issued:
        """Creates a key and returns its raw form, which is not stored. A test key expires after 7 days unless `lifetime` is given."""
        raw = self._format.generate(validation.environment(environment))
        digest, shown = self._format.digest(raw), self._format.shown(raw)
        return Issued(raw, await self._add(account, environment, digest, shown, "issue", change))

    async def adopt(self, account: str, raw: str, environment: str = "live", **change: Unpack[KeyChange]) -> Key:
        """Imports a key that was issued elsewhere: 16 characters to 512 bytes of text. The raw key is not stored."""
        validation.foreign_key(raw, self._format)
        return await self._add(account, environment, self._format.digest(raw), self._format.shown(raw), "import", change)

    async def adopt_digest(self, account: str, sha256: str, environment: str = "live", **change: Unpack[KeyChange]) -> Key:
        """Like `adopt`, but needs only the key's SHA-256, in hexadecimal. It does not show how long the key is."""
        digest = self._format.digest_of_sha256(validation.sha256_digest(sha256))
        return await self._add(account, environment, digest, "", "import", change)

    async def find(self, raw: str) -> Key:
        pointed = await self._store.pointer(self._format.digest(raw))
        account, _, key_id = pointed.partition(" ")
        if not pointed:
            raise UnknownKey
        return await self.show(account, key_id)

    async def show(self, account: str, key_id: str) -> Key:
        return (await self._read(account, key_id))[1]

    async def list(self, account: str, cursor: str = "", count: int = 100) -> Page[Key]:
        """In order of creation; `cursor` is the one that the previous page returned."""
        validation.page(count)
        after = validation.key_id(cursor) if cursor else ""
        ids = await self._store.ids(validation.account_id(account), after, count + 1)
        reading = await self._store.read(account, *ids[:count])
        reading.check_account()
        return Page(reading.keys, ids[count - 1] if len(ids) > count else "")

    async def set(self, account: str, key_id: str, **change: Unpack[KeyChange]) -> Key:
        """`set("acme", id, name="deploy", scopes=["asset:read"])`: fields that are not given keep their values."""
        return await self._alter(account, key_id, "set", lambda old, now_us: changes.changed_key(old, change, self._catalog(), now_us))

    async def revoke(self, account: str, key_id: str) -> Key:
        """For good, and effective for every request that begins after this returns."""
        return await self._alter(account, key_id, "revoke", changes.revoked)

    async def rotate(self, account: str, key_id: str, overlap: float = 0) -> Issued:
        """Replaces a key by a new one like it. The old one stays valid for `overlap` seconds, such as 259,200 for 72 hours."""

        async def attempt() -> Issued | None:
            reading, old = await self._read(account, key_id)
            ended, new = changes.rotated(old, overlap, reading.now_us)
            raw = self._format.generate(new.environment)
            new = replace(new, digest=self._format.digest(raw), shown=self._format.shown(raw))
            writes = [Write(key_id, reading.records[key_id], encode(ended)), Write(new.id, "", encode(new))]
            written = await self._write_new(new, writes, "rotate", key_id, f"to {new.id}, overlap {overlap:g} s")
            return Issued(raw, new) if written else None

        return await self._store.retry(account, attempt)

    async def tidy(self, account: str, older_than: float = 90 * 86400) -> int:
        """Deletes keys that were revoked or expired more than `older_than` seconds ago, and returns how many."""
        age_us, removed, after = int(validation.seconds(older_than, "age") * 1_000_000), 0, ""
        while ids := await self._store.ids(validation.account_id(account), after, _CHUNK):
            reading = await self._store.read(account, *ids)
            for key in reading.keys:
                if key.ended_by(reading.now_us - age_us):
                    removed += await self._remove(key, reading.records[key.id])
            after = ids[-1]
        return removed

    async def _add(self, account: str, environment: str, digest: str, shown: str, action: str, change: KeyChange) -> Key:
        validation.account_id(account)

        async def attempt() -> Key | None:
            reading = await self._store.read(account)
            reading.check_account()
            key = changes.new_key(account, environment, change, self._catalog(), reading.now_us)
            key = replace(key, digest=digest, shown=shown)
            # Writing the account as it was read makes sure that it still exists.
            record = reading.records[ACCOUNT]
            writes = [Write(ACCOUNT, record, record), Write(key.id, "", encode(key))]
            return key if await self._write_new(key, writes, action, key.id, f"{key.environment} {key.name!r}") else None

        return await self._store.retry(account, attempt)

    async def _write_new(self, new: Key, writes: Sequence[Write], action: str, key_id: str, detail: str) -> bool:
        """Claims the pointer and writes the key; if the key cannot be written, releases the pointer."""
        await self._claim(new)
        entry = self._entry(action, new.account, key_id, detail)
        if await self._store.change(new.account, writes, entry, new.created_us + _WRITTEN_WITHIN_US):
            return True
        if (await self._store.read(new.account, new.id)).records[new.id] == encode(new):
            # An earlier try wrote it: the client had sent the script again after losing the reply.
            return True
        await self._store.release(new)
        return False

    async def _claim(self, key: Key) -> None:
        pointed = await self._store.pointer(key.digest)
        if pointed:
            await self._check_abandoned(pointed, key)
        if not await self._store.claim(key.digest, pointed, key.pointer):
            raise _import_under_way()

    async def _check_abandoned(self, pointed: str, key: Key) -> None:
        """Raises Conflict if the digest of the key is in use, or may be by an import that has not finished."""
        account, _, key_id = pointed.partition(" ")
        record = (await self._store.read(account, key_id)).records[key_id]
        if record and decode_key(account, key_id, record).digest == key.digest:
            raise Conflict(f"the key is registered already: account {account!r} has it as {key_id!r}")
        if key.created_us - changes.created_at_us(key_id) < _SURELY_OVER_US:
            raise _import_under_way()

    async def _alter(self, account: str, key_id: str, action: str, alter: Callable[[Key, int], Key]) -> Key:
        async def attempt() -> Key | None:
            reading, old = await self._read(account, key_id)
            new = alter(old, reading.now_us)
            write = Write(key_id, reading.records[key_id], encode(new))
            entry = self._entry(action, account, key_id, difference(old, new))
            return new if new == old or await self._store.change(account, [write], entry) else None

        return await self._store.retry(account, attempt)

    async def _remove(self, key: Key, record: str) -> bool:
        entry = self._entry("tidy", key.account, key.id, "")
        if not await self._store.change(key.account, [Write(key.id, record, "")], entry):
            return False
        await self._store.release(key)
        return True

    async def _read(self, account: str, key_id: str) -> tuple[Reading, Key]:
        reading = await self._store.read(validation.account_id(account), validation.key_id(key_id))
        reading.check_account()
        return reading, reading.key(key_id)

    def _entry(self, action: str, account: str, key_id: str, detail: str) -> dict[str, str]:
        return {"action": f"keys.{action}", "account": account, "key": key_id, "actor": self._actor, "detail": detail}


def _import_under_way() -> Conflict:
    return Conflict("the key is being imported, or an earlier import of it was interrupted: try again in 10 seconds")
