"""The keys of the registry under one file's rules, and those of the file itself.

A key that stands in the file is the file's, whatever the registry says of it. Any other is the registry's: its tier, policies and
limits are read by the rules once, and kept with what the registry's directory remembers of it; they go when that does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from limiter.api import registry as keys
from limiter.api.identity import identify
from limiter.api.identity.identify import EXPIRED, MALFORMED, REVOKED, SUSPENDED, UNKNOWN, Directory, Refusal, lacking
from limiter.api.registry import Known as Configured
from limiter.api.registry.form import sha256_of
from limiter.api.registry.records import own_policy
from limiter.api.rules import Rules, Tier
from limiter.policy import Policy

_log = structlog.get_logger("limiter.api.registry")

ENVIRONMENT = Refusal(401, "wrong-environment", "The API key is of another environment, and is not valid in this one.")
UNCONFIGURED = Refusal(403, "not-configured", "The tier or the policy of the account is not configured here.")

_REFUSALS = {
    keys.Refusal.MALFORMED: MALFORMED,
    keys.Refusal.UNKNOWN: UNKNOWN,
    keys.Refusal.REVOKED: REVOKED,
    keys.Refusal.EXPIRED: EXPIRED,
    keys.Refusal.SUSPENDED: SUSPENDED,
    keys.Refusal.ADDRESS: identify.ELSEWHERE,
}
_AUDITED = {ENVIRONMENT: keys.Refusal.ENVIRONMENT, UNCONFIGURED: keys.Refusal.UNCONFIGURED}
# Where the front's reading of an identity stands in its memo.
_READING = "front"


@dataclass(slots=True, eq=False)
class Known(identify.Identity):
    """`source` is what it was read from, `by` the directory that did: another file's rules read it anew."""

    source: keys.Identity = field(kw_only=True, repr=False)
    by: Registered = field(kw_only=True, repr=False)


class Registered(Directory):
    """An `identify.Directory`. `registry` may be shared by those of several files; what it remembers outlives a reload."""

    def __init__(self, registry: keys.Directory, rules: Rules) -> None:
        super().__init__(rules)
        self._registry = registry
        self._file = Directory(rules)
        self._missing: set[str] = set()

    def recall(self, credential: str, scope: str | None, address: str) -> identify.Identity | Refusal | None:
        listed = self._file.recall(credential, scope, address)
        if isinstance(listed, identify.Identity) or self._file.has(sha256_of(credential)):
            return listed
        remembered = self._registry.recall(credential, scope=scope or "", address=address)
        if remembered is None:
            return None
        known = self._reading_of(remembered)
        return known if known.refusal(scope, address) is None else None

    async def look_up(self, credential: str, scope: str | None, address: str) -> identify.Identity | Refusal:
        remembered = self.recall(credential, scope, address)
        if remembered is not None:
            return remembered
        # A refusal never rests on what is remembered: no guarded take follows to find it out of date.
        return await self._read(credential, scope, address)

    def forget(self, identity: identify.Identity) -> None:
        if isinstance(identity, Known):
            self._registry.forget(identity.source)

    async def _read(self, credential: str, scope: str | None, ip: str) -> identify.Identity | Refusal:
        found = await self._registry.identify(credential, scope=scope or "", address=ip, fresh=True)
        if isinstance(found, keys.Refused):
            why = _REFUSALS.get(found.refusal) or lacking(scope or "")
            return self._told(why, self._reading_of(found.identity)) if found.identity else why
        known = self._reading_of(found)
        refusal = known.refusal(scope, ip)
        if refusal is None:
            return known
        self._registry.refuse(found, _AUDITED.get(refusal, keys.Refusal.SCOPE), ip)
        return self._told(refusal, known)

    def _told(self, refusal: Refusal, known: Known) -> Refusal:
        """With the numbers of who is known, and may not do this."""
        return refusal.of(known) if refusal.status == identify.FORBIDDEN and known.policy is not _NONE else refusal

    def _reading_of(self, source: keys.Identity) -> Known:
        known: Known | None = source.memo.get(_READING)
        if known is None or known.by is not self:
            known = source.memo[_READING] = self._reading(source)
        return known

    def _reading(self, source: keys.Identity) -> Known:
        """Addresses are left to the registry, which has asked them already."""
        key, account = source.key, source.account
        if self._file.has(source.sha256):
            return self._barred(source, UNKNOWN)
        tier = self._rules.tiers.get(account.tier)
        of_key, of_account = self._policies(source, tier)
        barred = None if key.environment in self._rules.environments else ENVIRONMENT
        if tier is None or of_key is None:
            return self._barred(source, barred or UNCONFIGURED)
        scopes = frozenset(key.scopes) if tier.scopes is None else tier.scopes.intersection(key.scopes)
        return Known(key.subject, key.account, of_key, of_account, scopes, guard=source.guard, barred=barred, source=source, by=self)

    def _policies(self, source: keys.Identity, tier: Tier | None) -> tuple[Policy | None, Policy | None]:
        """The key's and the account's; no key's where one of them is not configured: nobody passes for want of a policy."""
        key, account = source.key, source.account
        if tier is None:
            self._miss("tier", account.tier)
            return None, None
        of_key, of_account = self._named(key.policy, tier.key), self._named(account.policy, tier.account)
        if key.limits:
            of_key = own_policy(key.limits, tier.key.failure)
        if account.limits:
            of_account = own_policy(account.limits, (tier.account or tier.key).failure, "account-own")
        if account.policy and of_account is None:
            return None, None
        return of_key, of_account

    def _named(self, name: str | None, otherwise: Policy | None) -> Policy | None:
        if name is None:
            return otherwise
        if name not in self._rules.policies:
            self._miss("policy", name)
        return self._rules.policies.get(name)

    def _miss(self, what: str, name: str) -> None:
        """Told once for a file."""
        if (line := f"{what} {name!r}") not in self._missing:
            self._missing.add(line)
            _log.warning("the registry names what the configuration does not have: those keys are refused", missing=line)

    def _barred(self, source: keys.Identity, why: Refusal) -> Known:
        return Known(source.key.subject, source.key.account, _NONE, guard=source.guard, barred=why, source=source, by=self)


def known_to(rules: Rules) -> Configured:
    """What accounts and keys may be given. Where the file speaks of no scopes at all, others than us ask for them."""
    return Configured(frozenset(rules.tiers), frozenset(rules.policies), rules.scopes or None)


# Of who is refused anyway.
_NONE = Policy("none", ["1/second"])
