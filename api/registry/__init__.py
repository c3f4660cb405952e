"""Accounts and their keys, in Redis: who may call, and at which tier.

The order to read in: `records` (what there is), `form` (what a key looks like, and its digest), `names` and `store` (where it stands in
Redis; `../lua/registry_change.lua` is the heart), `registry` (the verbs), `directory` (what a sidecar asks on every request).
"""

from limiter.api.registry.audit import Audit, AuditEntry
from limiter.api.registry.directory import Directory
from limiter.api.registry.errors import Conflict, InvalidRecord, RegistryError, UnknownAccount, UnknownKey
from limiter.api.registry.form import Form
from limiter.api.registry.identity import Identity, Refusal, Refused
from limiter.api.registry.known import Known
from limiter.api.registry.records import Account, Issued, Key, Page
from limiter.api.registry.registry import Registry

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
