"""Records as text in Redis: JSON of what differs from the defaults, in our order, so that equal records are equal text."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, TypeVar

from limiter.api.registry.records import Account, Key
from limiter.api.registry.store import ACCOUNT, Reading

# Known from where a record stands, or kept elsewhere.
APART = {"id", "account", "last_used_us"}

Record = TypeVar("Record", Account, Key)


def encode(record: Account | Key) -> str:
    stored = {each.name: getattr(record, each.name) for each in fields(record) if each.name not in APART}
    plain = {each.name: each.default for each in fields(record)}
    differing = {name: value for name, value in stored.items() if value != plain[name]}
    return json.dumps(differing, ensure_ascii=False, separators=(",", ":"))


def decode_account(account: str, text: str) -> Account:
    return Account(account, **_decoded(text))


def decode_key(account: str, key: str, text: str, last_used: str = "") -> Key:
    return Key(key, account, last_used_us=int(last_used) if last_used else None, **_decoded(text))


def keys_of(account: str, reading: Reading) -> tuple[Key, ...]:
    """The keys of a reading, but those that are gone meanwhile."""
    found = ((each, record) for each, record in reading.records.items() if record and each != ACCOUNT)
    return tuple(decode_key(account, each, record, reading.used[each]) for each, record in found)


def _decoded(text: str) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}
