"""Reloads the configuration while requests are served. New rules replace the old ones at once; an invalid file changes nothing.

A changed file is loaded when its content is the same in two checks in a row, so a file that is still being written is not read in
part.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from limiter.api.config.loader import ConfigError, decoded, digest_of, loads, read
from limiter.api.rules import Rules
from limiter.api.server.watched_file import WatchedFile

# A file that is being replaced may be missing for a check or two.
_CHECKS_UNTIL_MISSED = 6

OnSwap = Callable[[Rules, Rules], None]
OnRefusal = Callable[[ConfigError], None]


class Watched:
    """A configuration file and its current `rules`, with the `text` that they were loaded from. Calls `on_swap(old, new)` or
    `on_refusal(error)` after each attempt to reload."""

    def __init__(self, path: Path, text: str, rules: Rules, on_swap: OnSwap, on_refusal: OnRefusal, *, has_v1_token: bool = True) -> None:
        self._path, self._on_swap, self._on_refusal = path, on_swap, on_refusal
        self._has_v1_token = has_v1_token
        self._file = WatchedFile(path, read)
        self.text, self.rules = text, rules
        # The content at the last check with its digest, and the digest of the content last loaded.
        self._seen: bytes | None = None
        self._digest = self._tried = rules.digest
        self._misses = 0

    def reload(self) -> bool:
        """Loads the file now. Returns False if it is invalid, and keeps the rules."""
        try:
            content = self._see(read(self._path))
            self._tried = self._digest
            text = self._decoded(content)
            rules = self._loaded(text)
        except ConfigError as error:
            self._on_refusal(error)
            return False
        self._swap(text, rules)
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
        digest = self._tried = self._digest
        try:
            # In a thread, as a large file takes long to check and requests must not wait for it.
            text = self._decoded(content)
            rules = await asyncio.to_thread(self._loaded, text)
        except ConfigError as error:
            if self._tried == digest:
                self._on_refusal(error)
            return
        # A reload may have loaded newer content in the meantime.
        if self._tried == digest:
            self._swap(text, rules)

    def _changed_content(self) -> bytes | None:
        """The content if it is new, and the same as at the last check."""
        try:
            content = self._file.content()
        except ConfigError as error:
            self._misses += 1
            if self._misses == _CHECKS_UNTIL_MISSED:
                self._on_refusal(error)
            return None
        self._misses = 0
        if content != self._seen:
            self._see(content)
            return None
        return None if self._digest == self._tried else content

    def _see(self, content: bytes) -> bytes:
        self._seen, self._digest = content, digest_of(content)
        return content

    def _decoded(self, content: bytes) -> str:
        return decoded(content, str(self._path))

    def _loaded(self, text: str) -> Rules:
        return loads(text, str(self._path), has_v1_token=self._has_v1_token)

    def _swap(self, text: str, rules: Rules) -> None:
        old, self.text, self.rules = self.rules, text, rules
        self._on_swap(old, rules)
