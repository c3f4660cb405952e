"""Who asks: from the credential that a request brings to the identity behind it, or the reason why there is none.

A `Directory` knows the identities. The one here is that of the keys in the configuration; others live elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from limiter.addresses import Network, parse_address
from limiter.api.rules import Account, Rules, StaticKey
from limiter.policy import Policy
from limiter.protocol.group import Guard

FORBIDDEN = 403
CREDENTIAL_HEADERS = frozenset({b"authorization", b"x-api-key"})

# A longer one, or one with blanks or control characters in it, is refused before anything is made of it.
_CREDENTIAL = re.compile(rb"[\x21-\x7e]{1,512}").fullmatch
_BEARER = b"bearer "


@dataclass(slots=True, eq=False)
class Identity:
    """A key and its account, and what each is held to. `scopes` are those that count: the key's, within its tier's.

    `barred`: why it is refused whatever it asks. With `guard`, decisions are made only while this still is what the account is.
    `plans` is room for what is worked out from it.
    """

    subject: str
    account: str
    policy: Policy
    account_policy: Policy | None = None
    scopes: frozenset[str] = frozenset()
    addresses: tuple[Network, ...] = ()
    guard: Guard | None = None
    barred: Refusal | None = None
    plans: dict[Any, Any] = field(default_factory=dict, repr=False)

    def refusal(self, scope: str | None, ip: str) -> Refusal | None:
        """Why this may not be done with the key, or not from there; None if it may."""
        if self.barred is not None:
            return self.barred
        if self.addresses and not self._admits(ip):
            return ELSEWHERE
        return None if scope is None or scope in self.scopes else lacking(scope)

    def _admits(self, ip: str) -> bool:
        found = parse_address(ip)
        return found is not None and any(found in network for network in self.addresses)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not. `attempt`: somebody may be guessing keys, which is limited by address; `scope`: the one that is lacking;
    `holder`: who it is that may not, to be told their numbers all the same."""

    status: int
    reason: str
    detail: str
    attempt: bool = False
    scope: str | None = None
    holder: Identity | None = field(default=None, repr=False, compare=False)

    def of(self, holder: Identity) -> Refusal:
        return replace(self, holder=holder)


MISSING = Refusal(401, "no-credential", "This needs an API key.")
MALFORMED = Refusal(401, "invalid-credential", "The API key is not valid.", attempt=True)
# In the very words of the above: whether a well-formed key exists is nobody's business.
UNKNOWN = MALFORMED
EXPIRED = Refusal(401, "expired-key", "The API key has expired.")
REVOKED = Refusal(401, "revoked-key", "The API key was revoked.")
SUSPENDED = Refusal(403, "account-suspended", "The account is suspended.")
ELSEWHERE = Refusal(403, "address-not-allowed", "The API key may not be used from this address.")


def lacking(scope: str) -> Refusal:
    """Of a key that is good, and not for this."""
    return Refusal(403, "missing-scope", f"The API key lacks the scope {scope!r}.", scope=scope)


def credential_in(found: Mapping[bytes, bytes], order: tuple[str, ...]) -> str | Refusal:
    """The first credential in the configured order, whether it is good or not."""
    for place in order:
        credential = _bearer(found) if place == "bearer" else found.get(b"x-api-key")
        if credential is not None:
            return credential.decode("ascii") if _CREDENTIAL(credential) else MALFORMED
    return MISSING


def _bearer(found: Mapping[bytes, bytes]) -> bytes | None:
    """None for other schemes: they are the API's business."""
    header = found.get(b"authorization")
    if header is None or header[:7].lower() != _BEARER:
        return None
    return header[7:].strip()


class Directory:
    """The keys of a configuration file, by digest."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._pepper = os.environ.get("LIMITER_PEPPER", "").encode()
        self._known: dict[bytes, tuple[StaticKey, Identity]] = {}

    def recall(self, credential: str, scope: str | None, address: str) -> Identity | Refusal | None:
        return self._found(credential, scope, address)

    async def look_up(self, credential: str, scope: str | None, address: str) -> Identity | Refusal:
        return self._found(credential, scope, address)

    def forget(self, identity: Identity) -> None:
        """Nothing of it changes before the file does."""

    def has(self, plain: bytes) -> bool:
        """Whether the key of this SHA-256 stands in the file, good or not."""
        return plain in self._known or self._look_up(plain) is not None

    def _found(self, credential: str, scope: str | None, ip: str) -> Identity | Refusal:
        if not self._rules.keys:
            return UNKNOWN
        plain = hashlib.sha256(credential.encode()).digest()
        known = self._known.get(plain) or self._look_up(plain)
        if known is None:
            return UNKNOWN
        key, identity = known
        if key.expires is not None and key.expires <= time.time():
            return EXPIRED
        refusal = identity.refusal(scope, ip)
        if refusal is None:
            return identity
        return refusal.of(identity) if refusal.status == FORBIDDEN else refusal

    def _look_up(self, plain: bytes) -> tuple[StaticKey, Identity] | None:
        key = self._rules.keys.get(plain.hex())
        if key is None and self._pepper:
            key = self._rules.keys.get(hmac.digest(self._pepper, plain, "sha256").hex())
        if key is None:
            return None
        known = self._known[plain] = key, self._identity(key)
        return known

    def _identity(self, key: StaticKey) -> Identity:
        account = self._rules.accounts.get(key.account)
        own = account.policy if account else None
        return Identity(
            key.name,
            key.account,
            key.policy or key.tier.key,
            own or key.tier.account,
            frozenset(scope for scope in key.scopes if key.may(scope)),
            key.addresses,
            barred=_barred(key, account),
        )


def _barred(key: StaticKey, account: Account | None) -> Refusal | None:
    if key.state == "revoked":
        return REVOKED
    return SUSPENDED if account is not None and account.state == "suspended" else None
