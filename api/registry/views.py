"""Accounts, keys and audit entries as JSON, the same from the command line and over HTTP. Never a digest; a raw key only when issued."""

from datetime import UTC, datetime
from typing import Any, cast

# pydantic, which builds the OpenAPI document from these, requires this TypedDict before Python 3.12.
from typing_extensions import TypedDict

from limiter.api.registry import Account, AuditEntry, Issued, Key

View = dict[str, Any]


class AccountView(TypedDict):
    """Times are UTC, such as `2027-01-15T12:00:00Z`."""

    id: str
    tier: str
    state: str
    policy: str | None
    limits: list[str]
    created: str | None


class KeyView(TypedDict):
    """`key_prefix` is the beginning of the raw key, for people to tell keys apart. Charges are counted under `subject`."""

    id: str
    account: str
    key_prefix: str
    name: str
    environment: str
    state: str
    scopes: list[str]
    addresses: list[str]
    policy: str | None
    limits: list[str]
    created: str | None
    expires: str | None
    revoked: str | None
    last_used: str | None
    rotated_to: str | None
    subject: str


class IssuedKeyView(KeyView):
    """A new key. `key` is the raw key, which no other response contains."""

    key: str


class AuditEntryView(TypedDict, total=False):
    """Fields without a value are absent. `count` is how often the same was refused within a few seconds."""

    at: str
    action: str
    account: str
    key: str
    actor: str
    address: str
    detail: str
    count: int


def account_view(account: Account) -> AccountView:
    return {
        "id": account.id,
        "tier": account.tier,
        "state": account.state,
        "policy": account.policy,
        "limits": list(account.limits),
        "created": moment(account.created_us),
    }


def key_view(key: Key, now_us: int) -> KeyView:
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


def issued_view(issued: Issued) -> IssuedKeyView:
    return {"key": issued.raw, **key_view(issued.key, issued.key.created_us)}


def entry_view(entry: AuditEntry) -> AuditEntryView:
    view: AuditEntryView = {
        "at": moment(entry.at_us) or "",
        "action": entry.action,
        "account": entry.account,
        "key": entry.key,
        "actor": entry.actor,
        "address": entry.address,
        "detail": entry.detail,
        "count": entry.count,
    }
    return cast("AuditEntryView", {name: value for name, value in view.items() if value})


def moment(us: int | None) -> str | None:
    """`2027-01-15T12:00:00Z`."""
    if us is None:
        return None
    try:
        return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return None
