"""Finds the identity behind a credential, on every request."""

import hmac
import time
from functools import cache

from limiter.api.identity.identity import MALFORMED, UNKNOWN, Identity, Refusal
from limiter.api.identity.registered_keys import RegisteredKeys
from limiter.api.identity.translation import Translator
from limiter.api.registry import Lookup
from limiter.api.registry.key_format import sha256_of
from limiter.api.rules import Rules
from limiter.api.settings.secret_values import PEPPER, secret
from limiter.protocol.group import Guard


@cache
def _pepper_of_process() -> bytes:
    """Read once, so that a file which is missing at a later reload breaks nothing."""
    return (secret(PEPPER) or "").encode()


class Directory:
    """The keys of one configuration file and, with `registered`, those of the registry. A key of the file takes precedence."""

    def __init__(self, rules: Rules, registered: RegisteredKeys | None = None) -> None:
        self._rules, self._registered, self._translator = rules, registered, Translator(rules)
        peppered = any(key.peppered for key in rules.keys.values())
        self._pepper = _pepper_of_process() if peppered else b""
        # By SHA-256, filled on first use. Bounded by the keys of the file, and dropped with its rules.
        self._of_file: dict[bytes, Identity] = {}

    def recall(self, credential: str, scope: str | None, address: str) -> Identity | Refusal | None:
        """The answer from memory, without waiting; None if `look_up` has to give it.

        An answer about a key of the registry is true only if a decision under the guard of its identity confirms it.
        """
        identity = self._known(sha256_of(credential))
        if identity is None:
            return UNKNOWN if self._registered is None else None
        return self._judge(identity, scope, address)

    def presume(self, credential: str, scope: str | None, address: str) -> Identity | Refusal | Guard:
        """Like `recall`, but a key that is not in memory is presumed not to exist, under a guard that rejects the decision if it does."""
        sha256 = sha256_of(credential)
        identity = self._known(sha256)
        if identity is not None:
            return self._judge(identity, scope, address)
        registered = self._registered
        if registered is None:
            return UNKNOWN
        return registered.absence(sha256) if registered.may_be_known(credential) else MALFORMED

    async def look_up(self, credential: str, scope: str | None, address: str) -> Identity | Refusal:
        """The answer, from Redis unless memory has it. Raises BackendError if Redis does not answer within the deadline."""
        recalled = self.recall(credential, scope, address)
        if recalled is not None or self._registered is None:
            return recalled or UNKNOWN
        if not self._registered.may_be_known(credential):
            return MALFORMED
        sha256 = sha256_of(credential)
        found = await self._registered.look_up(sha256)
        return UNKNOWN if found is None else self._judge_at(found.read_us, self._identity_of(found, sha256), scope, address)

    def count_refusal(self, refusal: Refusal, address: str) -> None:
        """For the registry's audit, which knows nothing of keys of the file."""
        if self._registered is None or not refusal.audit:
            return
        holder = refusal.holder
        if holder is None:
            self._registered.activity.refused(refusal.audit, address)
        elif holder.source is not None:
            self._registered.activity.refused(refusal.audit, address, holder.source.key)

    def forget(self, identity: Identity) -> None:
        """Drops an identity that a guarded decision found out of date. One that was looked up since stays."""
        if self._registered is not None:
            self._registered.forget(identity)

    def _judge(self, identity: Identity, scope: str | None, address: str) -> Identity | Refusal:
        return self._judge_at(0 if identity.expires_us is None else self._now_us(identity), identity, scope, address)

    def _judge_at(self, now_us: int, identity: Identity, scope: str | None, address: str) -> Identity | Refusal:
        refusal = identity.refusal(scope, address, now_us)
        if refusal is not None:
            return refusal.of(identity)
        if self._registered is not None and identity.source is not None:
            self._registered.use(identity)
        return identity

    def _identity_of(self, found: Lookup, sha256: bytes) -> Identity:
        """Equal lookups of a batch share what was found, and so the identity."""
        identity = self._known(sha256)
        if identity is None or identity.source is not found:
            identity = self._translator.of_registry(found, sha256)
            if self._registered is not None:
                self._registered.remember(identity)
        return identity

    def _known(self, sha256: bytes) -> Identity | None:
        identity = self._of_file.get(sha256)
        if identity is not None:
            return identity
        remembered = self._registered.recall(sha256) if self._registered is not None else None
        if remembered is not None and remembered.rules is self._rules:
            return remembered
        return self._in_file(sha256) or self._renewed(remembered)

    def _in_file(self, sha256: bytes) -> Identity | None:
        key = self._rules.keys.get(sha256.hex())
        if key is None and self._pepper:
            key = self._rules.keys.get(hmac.digest(self._pepper, sha256, "sha256").hex())
        if key is None:
            return None
        identity = self._of_file[sha256] = self._translator.of_file(key)
        return identity

    def _renewed(self, remembered: Identity | None) -> Identity | None:
        """What was remembered under the rules of another file, under those of this one."""
        if remembered is None or remembered.source is None or self._registered is None:
            return None
        identity = self._translator.of_registry(remembered.source, remembered.sha256)
        self._registered.remember(identity)
        return identity

    def _now_us(self, identity: Identity) -> int:
        """The local time for keys of the file, which work without Redis; Redis's time for keys of the registry."""
        return time.time_ns() // 1000 if self._registered is None or identity.source is None else self._registered.now_us()
