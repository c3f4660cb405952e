"""The audit: two bounded streams, of changes and of refused requests, so that a flood of refusals does not displace changes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from limiter.api.registry import validation
from limiter.api.registry.records import STORED_APART, Account, Key, Page
from limiter.api.registry.registry_errors import InvalidRecord
from limiter.api.registry.store import Names, backend, text
from limiter.errors import shown

_UNCOMPARED = STORED_APART | {"digest"}
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """`count` says how many equal refusals there were within a few seconds."""

    id: str
    at_us: int
    action: str
    account: str = ""
    key: str = ""
    actor: str = ""
    address: str = ""
    detail: str = ""
    count: int = 1


class Audit:
    """Changes are added by the scripts that make them. The last `refusals` refusals are kept, or a few more."""

    def __init__(self, client: Any, names: Names, *, refusals: int = 10_000) -> None:
        self._client, self._names, self._refusals = client, names, refusals

    async def read(self, cursor: str = "", count: int = 100, *, account: str = "", refused: bool = False) -> Page[AuditEntry]:
        """The latest entries first; only those of one account, if given."""
        validation.page(count)
        found: list[AuditEntry] = []
        while len(found) < count:
            entries = await self._chunk(self._names.refused if refused else self._names.audit, cursor)
            for entry in entries:
                cursor = entry.id
                if not account or entry.account == account:
                    found.append(entry)
                if len(found) == count:
                    return Page(tuple(found), cursor)
            if len(entries) < _CHUNK:
                break
        return Page(tuple(found))

    async def add_refusals(self, entries: Iterable[Mapping[str, str]]) -> None:
        with backend():
            pipe = self._client.pipeline(transaction=False)
            for entry in entries:
                pipe.xadd(self._names.refused, dict(entry), maxlen=self._refusals, approximate=True)
            await pipe.execute()

    async def _chunk(self, stream: str, cursor: str) -> list[AuditEntry]:
        with backend():
            entries = await self._client.xrevrange(stream, f"({_checked(cursor)}" if cursor else "+", "-", count=_CHUNK)
        return [_decoded(text(number), found) for number, found in entries]


def difference(before: Account | Key, after: Account | Key) -> str:
    """`name: 'ci' -> 'deploy'; scopes: () -> ('asset:read',)`."""
    changed = []
    for each in fields(after):
        old, new = getattr(before, each.name), getattr(after, each.name)
        if old != new and each.name not in _UNCOMPARED:
            changed.append(f"{each.name}: {old!r} -> {new!r}")
    return "; ".join(changed)


def _checked(cursor: str) -> str:
    if not all(part.isdecimal() and part.isascii() for part in cursor.split("-", 1)):
        raise InvalidRecord(f"cursor must be the one that the previous page returned, not {shown(cursor)}")
    return cursor


def _decoded(number: str, found: Mapping[Any, Any]) -> AuditEntry:
    values: dict[str, Any] = {text(name): text(value) for name, value in found.items()}
    known = {each.name for each in fields(AuditEntry)} - {"id"}
    values = {name: int(value) if name in {"at_us", "count"} else value for name, value in values.items() if name in known}
    return AuditEntry(number, **{"at_us": int(number.partition("-")[0]) * 1000, "action": "", **values})
