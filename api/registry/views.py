"""Accounts, keys and audit entries as JSON, the same from the command line and over HTTP. Never a digest; a raw key only when issued."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from limiter.api.registry import Account, AuditEntry, Issued, Key

View = dict[str, Any]


def account_view(account: Account) -> View:
    return {
        "id": account.id,
        "tier": account.tier,
        "state": account.state,
        "policy": account.policy,
        "limits": list(account.limits),
        "created": moment(account.created_us),
    }


def key_view(key: Key, now_us: int) -> View:
    """`key_prefix` is the beginning of the raw key, for people to tell keys apart by."""
    return {
        "id": key.id,
        "account": key.account,
        "key_prefix": key.shown,
        "name": key.name,
        "environment": key.environment,
        "state": key.state(now_us),
        "scopes": list(key.scopes),
        "addresses": list(key.addresses),
        "policy": key.policy,
        "limits": list(key.limits),
        "created": moment(key.created_us),
        "expires": moment(key.expires_us),
        "revoked": moment(key.revoked_us),
        "last_used": moment(key.last_used_us),
        "rotated_to": key.rotated_to,
        "subject": key.subject,
    }


def issued_view(issued: Issued) -> View:
    """With the raw key, which is not to be had again."""
    return {"key": issued.raw, **key_view(issued.key, issued.key.created_us)}


def entry_view(entry: AuditEntry) -> View:
    told = {
        "at": moment(entry.at_us),
        "action": entry.action,
        "account": entry.account,
        "key": entry.key,
        "actor": entry.actor,
        "address": entry.address,
        "detail": entry.detail,
    }
    return {name: value for name, value in told.items() if value} | {"count": entry.count}


def moment(us: int | None) -> str | None:
    """`2027-01-15T12:00:00Z`."""
    if us is None:
        return None
    try:
        return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return None
