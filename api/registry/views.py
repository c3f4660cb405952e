"""Accounts, keys and audit entries as JSON, the same from the command line and over HTTP. Never a digest; a raw key only when issued."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

# pydantic, which builds the OpenAPI document from these, requires this TypedDict before Python 3.12.
from typing_extensions import TypedDict

from limiter.api.registry import Account, AuditEntry, Issued, Key

View = dict[str, Any]
V = TypeVar("V", bound=Mapping[str, object])


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
    return _view(AccountView, asdict(account) | {"created": moment(account.created_us)})


def key_view(key: Key, now_us: int) -> KeyView:
    times = {"created": key.created_us, "expires": key.expires_us, "revoked": key.revoked_us, "last_used": key.last_used_us}
    derived = {"key_prefix": key.shown, "state": key.state(now_us), "subject": key.subject}
    return _view(KeyView, asdict(key) | derived | {name: moment(us) for name, us in times.items()})


def issued_view(issued: Issued) -> IssuedKeyView:
    return {"key": issued.raw, **key_view(issued.key, issued.key.created_us)}


def entry_view(entry: AuditEntry) -> AuditEntryView:
    view = _view(AuditEntryView, asdict(entry) | {"at": moment(entry.at_us)})
    return cast("AuditEntryView", {name: value for name, value in view.items() if value})


def _view(view: Callable[..., V], values: View) -> V:
    """The fields of the view alone: the record also has its digest, and times in microseconds."""
    return view(**{name: list(value) if isinstance(value := values[name], tuple) else value for name in view.__annotations__})


def moment(us: int | None) -> str | None:
    """`2027-01-15T12:00:00Z`."""
    if us is None:
        return None
    try:
        return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return None
