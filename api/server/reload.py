"""The rules in force, and how they are changed while requests run: all at once, or not at all.

A file is taken again when its content has changed and has stayed as it is from one look to the next, so that one that is being
written is not read in half. Where it is a link (as Kubernetes mounts are), or was replaced by renaming, what counts is what it leads to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from limiter.api.config.loader import ConfigError, decoded, digest_of, loads, read, unreadable
from limiter.api.rules import Rules

# Two writes within a tick of the file system's clock look alike, so a file is read for some more looks after it changed.
_LOOKS_AFTER_A_CHANGE = 4
# A file that is being replaced may be missing for a look or two.
_LOOKS_UNTIL_MISSED = 6

Stat = tuple[int, int, int, int, int]


class Watched:
    """`rules` is read once a request, and is of one file or of the other. `on_swap(old, new)` and `on_refusal(error)` are told after."""

    def __init__(
        self,
        path: Path,
        rules: Rules,
        on_swap: Callable[[Rules, Rules], None],
        on_refusal: Callable[[ConfigError], None],
    ) -> None:
        self.rules = rules
        self._path, self._on_swap, self._on_refusal = path, on_swap, on_refusal
        # The contents last tried and last seen, by digest; and how often the file was looked at, and missed, since it changed.
        self._tried = self._seen = rules.digest
        self._stat: Stat | None = None
        self._looks = self._misses = 0

    def reload(self) -> bool:
        """Take the file as it is now; False where it is refused, and the rules stay."""
        try:
            content = read(self._path)
        except ConfigError as error:
            return self._refuse(error)
        self._tried = self._seen = digest_of(content)
        try:
            rules = self._loaded(content)
        except ConfigError as error:
            return self._refuse(error)
        return self._swap(rules)

    async def watch(self, interval: float = 0.5) -> None:
        """Look at the file every `interval` seconds, for ever; a change is in force after two to three looks."""
        while True:
            await asyncio.sleep(interval)
            await self.look()

    async def look(self) -> None:
        """Take the file if it has changed since it was last tried, and not since the last look."""
        content = self._changed_content()
        if content is None:
            return
        digest = self._tried = digest_of(content)
        try:
            # Beside the event loop: a large file takes a while to check, and requests do not wait for it.
            rules = await asyncio.to_thread(self._loaded, content)
        except ConfigError as error:
            if self._tried == digest:
                self._refuse(error)
            return
        # Unless a reload has taken a newer content in the meantime.
        if self._tried == digest:
            self._swap(rules)

    def _changed_content(self) -> bytes | None:
        """The content, where it is new, and the same as at the last look."""
        try:
            if self._is_settled():
                return None
            content = read(self._path)
        except OSError as error:
            self._miss(unreadable(self._path, error))
            return None
        except ConfigError as error:
            self._miss(error)
            return None
        self._misses = 0
        digest = digest_of(content)
        stays, self._seen = digest == self._seen, digest
        return content if stays and digest != self._tried else None

    def _is_settled(self) -> bool:
        found = self._path.stat()
        stat = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)
        self._looks = self._looks + 1 if stat == self._stat else 0
        self._stat = stat
        return self._looks > _LOOKS_AFTER_A_CHANGE

    def _miss(self, error: ConfigError) -> None:
        self._stat = None
        self._misses += 1
        if self._misses == _LOOKS_UNTIL_MISSED:
            self._on_refusal(error)

    def _loaded(self, content: bytes) -> Rules:
        return loads(decoded(content, str(self._path)), str(self._path))

    def _swap(self, rules: Rules) -> bool:
        old, self.rules = self.rules, rules
        self._on_swap(old, rules)
        return True

    def _refuse(self, error: ConfigError) -> bool:
        self._on_refusal(error)
        return False
