"""Who sends this request: asked on every one, answered from memory, and right all the same.

What is remembered goes into a take with the guard it was read at, and Redis refuses the take once the account has changed: then
`forget` and ask again. A refusal never rests on what is remembered: the record is read afresh first, so that a key which was activated,
widened or prolonged works on its next request. What is not known is not remembered at all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace

from limiter.api.registry.form import LONGEST_KEY, sha256_of
from limiter.api.registry.identity import Identity, Refusal, Refused, judge
from limiter.api.registry.redis_time import RedisTime
from limiter.api.registry.refusals import Refusals
from limiter.api.registry.registry import Registry
from limiter.api.registry.scripts import backend
from limiter.api.registry.uses import Uses
from limiter.errors import BackendError


class Directory:
    """Remembers the `most` identities that were used last. With `foreign=False` only keys of our own form are looked up."""

    def __init__(self, registry: Registry, *, most: int = 20_000, foreign: bool = True, deadline: float = 0.05) -> None:
        self._registry, self._form = registry, registry.form
        self._most, self._foreign, self._deadline = most, foreign, deadline
        self._remembered: OrderedDict[bytes, Identity] = OrderedDict()
        self._time = RedisTime(registry.store.clock)
        self._uses, self._refusals = Uses(registry.store), Refusals(registry.audit)

    def recall(self, credential: str, *, scope: str = "", address: str = "") -> Identity | None:
        """Who this is, if remembered and let in; else `identify` has to find out. To be used under the identity's guard only."""
        if len(credential) > LONGEST_KEY:
            return None
        # Without the pepper, which is slow, and of use only against who reads Redis.
        sha256 = sha256_of(credential)
        identity = self._remembered.get(sha256)
        if identity is None:
            return None
        # The clock is looked at for keys only that have an end.
        now_us = 0 if identity.key.expires_us is None else self._time.now_us()
        if judge(identity, now_us, scope, address):
            return None
        self._remembered.move_to_end(sha256)
        self._uses.note(identity.key)
        return identity

    async def identify(self, credential: str, *, scope: str = "", address: str = "", fresh: bool = False) -> Identity | Refused:
        """Who this is and that they are let in, or why not. `fresh`: where no guarded take follows, as on an exempt route.

        Raises BackendError or BackendTimeout where Redis must be asked and does not answer within the deadline.
        """
        if not fresh and (identity := self.recall(credential, scope=scope, address=address)):
            return identity
        found = await self._found(credential, scope, address)
        if isinstance(found, Refused):
            self._refusals.note(found, address)
        else:
            self._uses.note(found.key)
        return found

    def refuse(self, identity: Identity, refusal: Refusal, address: str) -> None:
        """For the audit: who is let in as far as the record goes was refused for what the front knows, such as the tier's scopes."""
        self._refusals.note(Refused(refusal, identity), address)

    def forget(self, identity: Identity) -> None:
        """After a take was refused for its generation; what has been read since stays."""
        if self._remembered.get(identity.sha256) is identity:
            del self._remembered[identity.sha256]

    async def flush(self) -> None:
        """Write down the last uses and the refusals gathered since."""
        asked = self._time.stopwatch_us()
        told_us = await self._uses.flush()
        if told_us is not None:
            self._time.learn(told_us, asked)
        await self._refusals.flush(self._time.now_us())

    async def run(self, every: float = 5.0) -> None:
        """Flush every so many seconds, until cancelled; what a Redis that is away does not take is lost."""
        try:
            while True:
                await asyncio.sleep(every)
                with suppress(BackendError):
                    await self.flush()
        finally:
            with suppress(BackendError):
                await self.flush()

    async def _found(self, credential: str, scope: str, address: str) -> Identity | Refused:
        if not self._may_be_known(credential):
            return Refused(Refusal.MALFORMED)
        identity = await self._read(sha256_of(credential))
        if identity is None:
            return Refused(Refusal.UNKNOWN)
        refusal = judge(identity, identity.read_us, scope, address)
        return Refused(refusal, identity) if refusal else identity

    def _may_be_known(self, credential: str) -> bool:
        if not credential or len(credential) > LONGEST_KEY or len(credential.encode("utf-8", "surrogatepass")) > LONGEST_KEY:
            return False
        if self._form.is_ours(credential) or not self._foreign:
            return self._form.is_well_formed(credential)
        return credential.isprintable()

    async def _read(self, sha256: bytes) -> Identity | None:
        asked = self._time.stopwatch_us()
        with backend():
            async with asyncio.timeout(self._deadline):
                found = await self._registry.look_up(self._form.digest_of_sha256(sha256))
        if found is None:
            self._remembered.pop(sha256, None)
            return None
        self._time.learn(found.read_us, asked)
        identity = replace(found, sha256=sha256)
        self._remember(identity)
        return identity

    def _remember(self, identity: Identity) -> None:
        self._remembered[identity.sha256] = identity
        self._remembered.move_to_end(identity.sha256)
        if len(self._remembered) > self._most:
            self._remembered.popitem(last=False)
