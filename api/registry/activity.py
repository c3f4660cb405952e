"""What requests leave behind in the registry: when keys were last used, and the refusals.

Both are gathered in memory and written every few seconds. Refusals are counted on a bounded number of lines: an attacker who invents a key
or an address for each attempt fills the lines, and the rest is counted on one more.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

from limiter.api.registry.audit import Audit
from limiter.api.registry.records import Key
from limiter.api.registry.store import Store, backend

# Accounts per pipeline: enough to save round trips, and few enough not to delay other clients of Redis.
_ACCOUNTS_AT_ONCE = 200
_MAX_LINES = 64
# The address may be any text that a client sent.
_MAX_ADDRESS = 64

# Reason, account, key, address.
Line = tuple[str, str, str, str]
_OTHERS: Line = ("others", "", "", "")


class Activity:
    def __init__(self, store: Store, audit: Audit) -> None:
        self._store, self._audit = store, audit
        self._used: defaultdict[str, set[str]] = defaultdict(set)
        self._refusals: Counter[Line] = Counter()

    def used(self, key: Key) -> None:
        self._used[key.account].add(key.id)

    def refused(self, reason: str, address: str, key: Key | None = None) -> None:
        account, key_id = ("", "") if key is None else (key.account, key.id)
        line, refusals = (reason, account, key_id, address[:_MAX_ADDRESS]), self._refusals
        refusals[line if line in refusals or len(refusals) < _MAX_LINES else _OTHERS] += 1

    async def write_uses(self) -> int | None:
        """Redis's time, or None if there was nothing to write."""
        used, self._used = list(self._used.items()), defaultdict(set)
        now_us = None
        for at in range(0, len(used), _ACCOUNTS_AT_ONCE):
            now_us = await self._write(used[at : at + _ACCOUNTS_AT_ONCE])
        return now_us

    async def write_refusals(self, now_us: int) -> None:
        lines, self._refusals = self._refusals, Counter()
        if lines:
            await self._audit.add_refusals(_entry(line, count, now_us) for line, count in lines.items())

    async def _write(self, used: Sequence[tuple[str, set[str]]]) -> int:
        store, names = self._store, self._store.names
        with backend():
            pipe = store.client.pipeline(transaction=False)
            for account, keys in used:
                await store.used_script(keys=[names.records(account), names.used(account)], args=[store.now, *keys], client=pipe)
            return int((await pipe.execute())[0])


def _entry(line: Line, count: int, now_us: int) -> dict[str, str]:
    reason, account, key, address = line
    stated = {"action": f"refused.{reason}", "account": account, "key": key, "address": address, "count": str(count)}
    return {"at_us": str(now_us)} | {name: value for name, value in stated.items() if value}
