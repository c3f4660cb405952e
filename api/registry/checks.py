"""Values on their way into a record: each is as it should be, or refused by name and with the remedy."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable

from limiter.addresses import parse_network
from limiter.api.registry.errors import InvalidRecord
from limiter.api.registry.form import ENVIRONMENTS, LONGEST_KEY, Environment, Form
from limiter.api.registry.records import own_policy
from limiter.errors import InvalidPolicy, shown
from limiter.limits.checks import checked_name

_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
# A raw key of whatever prefix, given in the place of an account.
_KEY = re.compile(r"[a-z][a-z0-9]{0,15}_(live|test)_.*", re.DOTALL)
_SCOPE = re.compile(r"[A-Za-z0-9_.:*/-]{1,64}")
_KEY_ID = re.compile(r"[0-9a-f]{20}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_LONGEST_NAME = 100
_LONGEST_PAGE = 1000
_MOST = 64
_YEARS = 100 * 366 * 86400


def account_id(value: str) -> str:
    if isinstance(value, str) and _KEY.fullmatch(value):
        raise InvalidRecord("this is no account: it looks like a key, and is not repeated here")
    if not isinstance(value, str) or not _ACCOUNT.fullmatch(value):
        raise InvalidRecord(f"account {shown(value)}: use 1 to 64 letters, digits and _ . @ -, a letter or digit first")
    return value


def key_id(value: str) -> str:
    """Not told when it is wrong: a raw key, given in the place of its id, would be."""
    if not isinstance(value, str) or not _KEY_ID.fullmatch(value):
        raise InvalidRecord("this is no id of a key: use the 20 hexadecimal digits that listing the account's keys shows")
    return value


def plain_name(value: str, what: str) -> str:
    """Of a tier or a policy."""
    try:
        return checked_name(value, what)
    except InvalidPolicy as error:
        raise InvalidRecord(str(error)) from None


def key_name(value: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME or not value.isprintable():
        raise InvalidRecord(f"name {shown(value)}: use up to {_LONGEST_NAME} printable characters")
    return value


def environment(value: str) -> Environment:
    if value not in ENVIRONMENTS:
        raise InvalidRecord(f"environment {shown(value)}: use one of {', '.join(ENVIRONMENTS)}")
    return value  # type: ignore[return-value]  # of those it is one


def scopes(values: Iterable[str]) -> tuple[str, ...]:
    listed = _listed(values, "scopes", "asset:read")
    for scope in listed:
        if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
            raise InvalidRecord(f"scope {shown(scope)}: use 1 to 64 letters, digits and _ . : * / -, such as 'asset:read'")
    return tuple(dict.fromkeys(listed))


def addresses(values: Iterable[str]) -> tuple[str, ...]:
    """In the one way to write each: `::ffff:203.0.113.0/120` is `203.0.113.0/24`."""
    return tuple(dict.fromkeys(_network(value) for value in _listed(values, "addresses", "203.0.113.0/24")))


def limits(values: Iterable[str]) -> tuple[str, ...]:
    listed = _listed(values, "limits", "100/minute")
    for limit in listed:
        if not isinstance(limit, str):
            raise InvalidRecord(f"limit {shown(limit)}: use a text, such as '100/minute'")
    try:
        if listed:
            own_policy(listed)
    except InvalidPolicy as error:
        raise InvalidRecord(str(error)) from None
    return listed


def either(policy: str | None, own: tuple[str, ...]) -> None:
    if policy and own:
        raise InvalidRecord(f"policy {policy!r} and limits {', '.join(own)!r} exclude each other: take one of them away")


def seconds(value: float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value < 0:
        raise InvalidRecord(f"{what} {shown(value)}: use seconds, 0 or more")
    if _YEARS < value < math.inf:
        raise InvalidRecord(f"{what} {shown(value)}: use at most 100 years, or leave it out")
    return value


def page(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _LONGEST_PAGE:
        raise InvalidRecord(f"a page of {shown(count)}: use 1 to {_LONGEST_PAGE:,}")
    return count


def foreign_key(raw: str, form: Form) -> str:
    if not isinstance(raw, str) or not 0 < len(raw.encode("utf-8", "surrogatepass")) <= LONGEST_KEY or not raw.isprintable():
        raise InvalidRecord(f"the key to import: use 1 to {LONGEST_KEY} bytes of printable text")
    if form.is_ours(raw) and not form.is_well_formed(raw):
        raise InvalidRecord(
            f"the key to import begins as ours ({form.prefix}_) and has a wrong checksum, so it would be refused: check it for a typing "
            "error, or configure another prefix for new keys"
        )
    return raw


def sha256_digest(value: str) -> bytes:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise InvalidRecord("the digest to import: use the SHA-256 of the key, 64 hexadecimal digits")
    return bytes.fromhex(value)


def _network(value: str) -> str:
    try:
        stated = ipaddress.ip_interface(value) if isinstance(value, str) else None
    except ValueError:
        stated = None
    if stated is None:
        raise InvalidRecord(f"address {shown(value)}: use an address or a network, such as 203.0.113.0/24 or 2001:db8::/32")
    network = stated.network
    if stated.ip != network.network_address:
        raise InvalidRecord(f"address {shown(value)} has bits set behind its prefix: did you mean {network} or {stated.ip}?")
    return str(parse_network(str(network)))


def _listed(values: Iterable[str], what: str, example: str) -> tuple[str, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidRecord(f"{what} {shown(values)} are no list: use [{example!r}]")
    listed = tuple(values)
    if len(listed) > _MOST:
        raise InvalidRecord(f"{what}: {len(listed)} are too many, use at most {_MOST}")
    return listed
