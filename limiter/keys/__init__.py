"""Accounts and their keys, in Redis: who may call, and at which tier.

The order to read in: `records` (what there is), `form` (what a key looks like, and its digest), `names` and `store` (where it stands in
Redis; `../lua/registry_change.lua` is the heart), `registry` (the verbs), `directory` (what a sidecar asks on every request).
"""

from limiter.keys.audit import Audit, AuditEntry
from limiter.keys.directory import Directory
from limiter.keys.errors import Conflict, InvalidRecord, RegistryError, UnknownAccount, UnknownKey
from limiter.keys.form import Form
from limiter.keys.identity import Identity, Refusal, Refused
from limiter.keys.known import Known
from limiter.keys.records import Account, Issued, Key, Page
from limiter.keys.registry import Registry

__all__ = [
    "Account",
    "Audit",
    "AuditEntry",
    "Conflict",
    "Directory",
    "Form",
    "Identity",
    "InvalidRecord",
    "Issued",
    "Key",
    "Known",
    "Page",
    "Refusal",
    "Refused",
    "Registry",
    "RegistryError",
    "UnknownAccount",
    "UnknownKey",
]
