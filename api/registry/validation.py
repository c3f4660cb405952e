"""Validation of the values that records are made of. Each function returns the value, or raises InvalidRecord."""

import ipaddress
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from limiter.addresses import parse_network
from limiter.api.registry.key_format import ENVIRONMENTS, MAX_KEY_BYTES, MIN_KEY_CHARACTERS, Environment, KeyFormat
from limiter.api.registry.registry_errors import InvalidRecord
from limiter.errors import InvalidPolicy, shown
from limiter.limits.checks import checked_name
from limiter.policy import Policy

_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
# A raw key of any prefix, which somebody gave instead of an account.
_RAW_KEY = re.compile(r"[a-z][a-z0-9]{0,15}_(live|test)_.*", re.DOTALL)
_SCOPE = re.compile(r"[A-Za-z0-9_.:*/-]{1,64}")
_KEY_ID = re.compile(r"[0-9a-f]{20}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_MAX_NAME = 100
_MAX_PAGE = 1000
_MAX_ENTRIES = 64
_HUNDRED_YEARS_S = 100 * 366 * 86400


@dataclass(frozen=True, slots=True)
class Catalog:
    """The names that a configuration defines, which accounts and keys may use. None: any name."""

    tiers: frozenset[str] | None = None
    policies: frozenset[str] | None = None
    scopes: frozenset[str] | None = None

    def check(self, tier: str | None = None, policy: str | None = None, scopes: tuple[str, ...] = ()) -> None:
        of_scopes = [("scope", scope, self.scopes) for scope in scopes]
        for what, name, defined in (("tier", tier, self.tiers), ("policy", policy, self.policies), *of_scopes):
            if name is not None and defined is not None and name not in defined:
                names = ", ".join(sorted(defined)) or "none so far"
                raise InvalidRecord(f"{what} must be one that the configuration defines ({names}), not {name!r}")


def account_id(value: str) -> str:
    if isinstance(value, str) and _RAW_KEY.fullmatch(value):
        raise InvalidRecord("account must be the id of an account; the value looks like an API key, so it is not repeated here")
    if not isinstance(value, str) or not _ACCOUNT.fullmatch(value):
        raise InvalidRecord(f"account must be 1 to 64 letters, digits and _ . @ -, beginning with a letter or digit, not {shown(value)}")
    return value


def key_id(value: str) -> str:
    if not isinstance(value, str) or not _KEY_ID.fullmatch(value):
        # A raw key may have been given instead.
        raise InvalidRecord("key id must be the 20 hexadecimal digits that the list of keys shows; the value is not repeated here")
    return value


def plain_name(value: str, what: str) -> str:
    """The name of a tier or a policy."""
    try:
        return checked_name(value, what)
    except InvalidPolicy as error:
        raise InvalidRecord(str(error)) from None


def key_name(value: str) -> str:
    if not isinstance(value, str) or len(value) > _MAX_NAME or not value.isprintable():
        raise InvalidRecord(f"name must be up to {_MAX_NAME} printable characters, not {shown(value)}")
    return value


def environment(value: str) -> Environment:
    if value not in ENVIRONMENTS:
        raise InvalidRecord(f"environment must be {' or '.join(ENVIRONMENTS)}, not {shown(value)}")
    return value  # type: ignore[return-value]  # one of ENVIRONMENTS, which are all values of the type


def scopes(values: Iterable[str]) -> tuple[str, ...]:
    listed = _listed(values, "scopes", "asset:read")
    for scope in listed:
        if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
            raise InvalidRecord(f"scope must be 1 to 64 letters, digits and _ . : * / -, such as 'asset:read', not {shown(scope)}")
    return tuple(dict.fromkeys(listed))


def addresses(values: Iterable[str]) -> tuple[str, ...]:
    """In their canonical form: `::ffff:203.0.113.0/120` becomes `203.0.113.0/24`."""
    return tuple(dict.fromkeys(_network(value) for value in _listed(values, "addresses", "203.0.113.0/24")))


def limits(values: Iterable[str]) -> tuple[str, ...]:
    listed = _listed(values, "limits", "100/minute")
    for limit in listed:
        if not isinstance(limit, str):
            raise InvalidRecord(f"limit must be text, such as '100/minute', not {shown(limit)}")
    try:
        if listed:
            Policy("own", listed)
    except InvalidPolicy as error:
        raise InvalidRecord(str(error)) from None
    return listed


def either(policy: str | None, own: tuple[str, ...]) -> None:
    if policy and own:
        raise InvalidRecord(f"policy {policy!r} and limits {', '.join(own)!r} exclude each other: remove one of them")


def seconds(value: float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value < 0:
        raise InvalidRecord(f"{what} must be 0 or more seconds, not {shown(value)}")
    if _HUNDRED_YEARS_S < value < math.inf:
        raise InvalidRecord(f"{what} must be at most 100 years in seconds, not {shown(value)}")
    return value


def page(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MAX_PAGE:
        raise InvalidRecord(f"count must be a whole number from 1 to {_MAX_PAGE:,}, not {shown(count)}")
    return count


def foreign_key(raw: str, key_format: KeyFormat) -> str:
    if not isinstance(raw, str) or not len(raw.encode("utf-8", "surrogatepass")) <= MAX_KEY_BYTES or not raw.isprintable():
        raise InvalidRecord(f"the key to import must be {MIN_KEY_CHARACTERS} to {MAX_KEY_BYTES} bytes of printable text")
    if len(raw) < MIN_KEY_CHARACTERS:
        raise InvalidRecord(
            f"the key to import must have {MIN_KEY_CHARACTERS} or more characters, not {len(raw)}: a shorter one can be guessed, "
            "so issue a new key instead"
        )
    if key_format.is_ours(raw) and not key_format.is_well_formed(raw):
        raise InvalidRecord(
            f"the key to import begins with {key_format.prefix}_, like keys issued here, and has a wrong checksum, so it would be refused: "
            "check it for typing errors, or configure another prefix for new keys"
        )
    return raw


def sha256_digest(value: str) -> bytes:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise InvalidRecord("the digest to import must be the SHA-256 of the key, in 64 hexadecimal digits")
    return bytes.fromhex(value)


def _network(value: str) -> str:
    try:
        stated = ipaddress.ip_interface(value) if isinstance(value, str) else None
    except ValueError:
        stated = None
    if stated is None:
        raise InvalidRecord(f"address must be an IP address or a network, such as 203.0.113.0/24 or 2001:db8::/32, not {shown(value)}")
    network = stated.network
    if stated.ip != network.network_address:
        raise InvalidRecord(f"address {shown(value)} has bits set beyond its prefix length: did you mean {network} or {stated.ip}?")
    return str(parse_network(str(network)))


def _listed(values: Iterable[str], what: str, example: str) -> tuple[str, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidRecord(f"{what} must be a list, such as [{example!r}], not {shown(values)}")
    listed = tuple(values)
    if len(listed) > _MAX_ENTRIES:
        raise InvalidRecord(f"{what} must have at most {_MAX_ENTRIES} entries, not {len(listed)}")
    return listed
