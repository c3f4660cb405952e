"""Reloads the configuration while requests are served. New rules replace the old ones at once; an invalid file changes nothing.

A changed file is loaded when its content is the same in two checks in a row, so a file that is still being written is not read in
part. Symbolic links, such as Kubernetes mounts, are followed at every check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from limiter.api.config.loader import ConfigError, decoded, digest_of, loads, read, unreadable
from limiter.api.rules import Rules

# Two writes within one tick of the file system's clock have the same time, so the file is read for a few more checks after a change.
_CHECKS_AFTER_A_CHANGE = 4
# A file that is being replaced may be missing for a check or two.
_CHECKS_UNTIL_MISSED = 6

Stat = tuple[int, int, int, int, int]
OnSwap = Callable[[Rules, Rules], None]
OnRefusal = Callable[[ConfigError], None]


class Watched:
    """A configuration file and its current `rules`. Calls `on_swap(old, new)` or `on_refusal(error)` after each attempt to reload."""

    def __init__(self, path: Path, rules: Rules, on_swap: OnSwap, on_refusal: OnRefusal) -> None:
        self.rules = rules
        self._path, self._on_swap, self._on_refusal = path, on_swap, on_refusal
        # Digests of the content last loaded and last seen; and how often the file was checked, and was missing, since it changed.
        self._tried = self._seen = rules.digest
        self._stat: Stat | None = None
        self._checks = self._misses = 0

    def reload(self) -> bool:
        """Loads the file now. Returns False if it is invalid, and keeps the rules."""
        try:
            content = read(self._path)
            self._tried = self._seen = digest_of(content)
            rules = self._loaded(content)
        except ConfigError as error:
            self._on_refusal(error)
            return False
        self._swap(rules)
        return True

    async def watch(self, interval: float = 0.5) -> None:
        """Checks the file every `interval` seconds, without an end. A change takes effect after two or three checks."""
        while True:
            await asyncio.sleep(interval)
            await self.check()

    async def check(self) -> None:
        """Loads the file if its content is new, and the same as at the last check."""
        content = self._changed_content()
        if content is None:
            return
        digest = self._tried = digest_of(content)
        try:
            # In a thread, as a large file takes long to check and requests must not wait for it.
            rules = await asyncio.to_thread(self._loaded, content)
        except ConfigError as error:
            if self._tried == digest:
                self._on_refusal(error)
            return
        # A reload may have loaded newer content in the meantime.
        if self._tried == digest:
            self._swap(rules)

    def _changed_content(self) -> bytes | None:
        """The content if it is new, and the same as at the last check."""
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
        settled, self._seen = digest == self._seen, digest
        return content if settled and digest != self._tried else None

    def _is_settled(self) -> bool:
        found = self._path.stat()
        stat = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)
        self._checks = self._checks + 1 if stat == self._stat else 0
        self._stat = stat
        return self._checks > _CHECKS_AFTER_A_CHANGE

    def _miss(self, error: ConfigError) -> None:
        self._stat = None
        self._misses += 1
        if self._misses == _CHECKS_UNTIL_MISSED:
            self._on_refusal(error)

    def _loaded(self, content: bytes) -> Rules:
        return loads(decoded(content, str(self._path)), str(self._path))

    def _swap(self, rules: Rules) -> None:
        old, self.rules = self.rules, rules
        self._on_swap(old, rules)
