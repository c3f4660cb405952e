"""The registry of accounts and their keys, in Redis.

Read in this order: `records` (what is stored), `key_format` (what a key looks like, and its digest), `store` (where records are stored,
with `lua/registry/change.lua` at its heart), `registry` (what can be done), and `lookups` (finding the key of a request, for
`limiter.api.identity`).
"""

from limiter.api.registry.audit import Audit, AuditEntry
from limiter.api.registry.key_format import KeyFormat
from limiter.api.registry.lookups import Lookup
from limiter.api.registry.records import Account, Issued, Key
from limiter.api.registry.registry import Registry, connected
from limiter.api.registry.registry_errors import Conflict, InvalidRecord, UnknownAccount, UnknownKey
from limiter.api.registry.validation import Catalog

__all__ = [
    "Account",
    "Audit",
    "AuditEntry",
    "Catalog",
    "Conflict",
    "InvalidRecord",
    "Issued",
    "Key",
    "KeyFormat",
    "Lookup",
    "Registry",
    "UnknownAccount",
    "UnknownKey",
    "connected",
]
