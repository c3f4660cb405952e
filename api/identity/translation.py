"""Translates keys, of the configuration file and of the registry, into identities under the rules of one file."""

from collections.abc import Mapping
from typing import TypeVar

import structlog

from limiter.addresses import parse_network
from limiter.api.identity.identity import NO_POLICY, Identity, reason_to_bar
from limiter.api.outgoing.caller_headers import Caller
from limiter.api.registry import Account, Key, Lookup
from limiter.api.rules import FileKey, Rules
from limiter.policy import Failure, Policy

_log = structlog.get_logger("limiter.api.registry")

# The names of policies that are made of a record's own limits. They are part of the names of the counts in Redis.
_KEY_LIMITS, _ACCOUNT_LIMITS = "own", "account-own"

T = TypeVar("T")


class _NotConfigured(Exception):
    """The registry names a tier or a policy that the configuration does not define."""


class Translator:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        # Bounded by the tiers and policies that the registry names.
        self._reported: set[str] = set()

    def of_file(self, key: FileKey) -> Identity:
        account = self._rules.accounts.get(key.account)
        own = account.policy if account else None
        return Identity(
            key.name,
            key.account,
            key.policy or key.tier.key,
            own or key.tier.account,
            scopes=key.tier.allowed(key.scopes),
            networks=key.addresses,
            expires_us=None if key.expires is None else int(key.expires * 1_000_000),
            barred=reason_to_bar(revoked=key.state == "revoked", suspended=account is not None and account.state == "suspended"),
            caller=Caller(key.account, key.name, key.tier.name),
        )

    def of_registry(self, found: Lookup, sha256: bytes = b"") -> Identity:
        key, account = found.key, found.account
        configured = self._configuration(key, account)
        policy, account_policy, scopes = configured or (NO_POLICY, None, frozenset())
        return Identity(
            key.subject,
            key.account,
            policy,
            account_policy,
            scopes=scopes,
            networks=tuple(parse_network(each) for each in key.addresses),
            expires_us=key.expires_us,
            barred=reason_to_bar(
                revoked=key.revoked_us is not None,
                suspended=account.state != "active",
                elsewhere=key.environment not in self._rules.environments,
                configured=configured is not None,
            ),
            guard=found.guard,
            caller=Caller(key.account, key.id, account.tier),
            source=found,
            rules=self._rules,
            sha256=sha256,
        )

    def _configuration(self, key: Key, account: Account) -> tuple[Policy, Policy | None, frozenset[str]] | None:
        """The policies of the key and of the account, and the scopes that the tier allows. None if the file does not define them."""
        try:
            tier = self._defined("tier", account.tier, self._rules.tiers)
            of_key = self._own_policy(key, _KEY_LIMITS, tier.key.failure) or tier.key
            of_account = self._own_policy(account, _ACCOUNT_LIMITS, (tier.account or tier.key).failure) or tier.account
        except _NotConfigured as missing:
            self._report(str(missing))
            return None
        return of_key, of_account, tier.allowed(key.scopes)

    def _own_policy(self, record: Key | Account, name: str, failure: Failure | None) -> Policy | None:
        """The policy that the record's own limits make, or that it names. None: that of the tier applies."""
        if record.limits:
            return Policy(name, record.limits, failure=failure)
        return self._defined("policy", record.policy, self._rules.policies) if record.policy else None

    def _defined(self, what: str, name: str, definitions: Mapping[str, T]) -> T:
        if name not in definitions:
            raise _NotConfigured(f"{what} {name!r}")
        return definitions[name]

    def _report(self, missing: str) -> None:
        """Logs it once for each version of the file."""
        if missing not in self._reported:
            self._reported.add(missing)
            _log.warning("the registry uses a tier or policy that the configuration does not define; its keys are refused", missing=missing)
