"""The form of our own keys, and the digest by which any key is known.

A key is `<prefix>_<live|test>_` and 32 base32 characters: 128 random bits and a checksum of 32, keyed where there is a pepper. So one
that is mistyped or invented is refused without a look into Redis.

What is kept of a key is SHA-256 of it; with a pepper, HMAC-SHA-256 (by the pepper) of that. So a plain SHA-256 of a key is enough to
import it, and a stolen copy of Redis is of no use for guessing.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, Self, get_args

from limiter.api.registry.errors import InvalidRecord

Environment = Literal["live", "test"]
ENVIRONMENTS: tuple[str, ...] = get_args(Environment)

# In bytes.
LONGEST_KEY = 512
_RANDOM, _CHECKSUM = 16, 4
_LEAST_PEPPER = 16

_SHOWN = 12
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Form:
    """`Form("ff")` makes and knows `ff_live_…` and `ff_test_…`. Another pepper knows none of the keys made with this one."""

    prefix: str = "ff"
    pepper: bytes = field(default=b"", repr=False)
    _heads: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise InvalidRecord(f"key prefix {self.prefix!r}: use 1 to 16 lower-case letters and digits, a letter first, such as 'ff'")
        if 0 < len(self.pepper) < _LEAST_PEPPER:
            raise InvalidRecord(f"the pepper has {len(self.pepper)} bytes: use {_LEAST_PEPPER} or more, all random")
        object.__setattr__(self, "_heads", tuple(f"{self.prefix}_{environment}_" for environment in ENVIRONMENTS))

    @classmethod
    def from_environment(cls, prefix: str = "ff", environment: Mapping[str, str] = os.environ) -> Self:
        """With the pepper from LIMITER_PEPPER, if set."""
        return cls(prefix, environment.get("LIMITER_PEPPER", "").encode())

    def generate(self, environment: Environment = "live") -> str:
        head = f"{self.prefix}_{environment}_"
        random = secrets.token_bytes(_RANDOM)
        return head + base64.b32encode(random + self._checksum(head, random)).decode().lower()

    def is_ours(self, raw: str) -> bool:
        """By its beginning; the rest may be wrong."""
        return raw.startswith(self._heads)

    def is_well_formed(self, raw: str) -> bool:
        """Ours, of the right length and with the right checksum; in constant time as to the checksum, which is secret if keyed."""
        head, _, code = raw.rpartition("_")
        head += "_"
        if head not in self._heads or len(code) != (_RANDOM + _CHECKSUM) * 8 // 5 or not code.islower():
            return False
        try:
            decoded = base64.b32decode(code, casefold=True)
        except ValueError:
            return False
        return hmac.compare_digest(decoded[_RANDOM:], self._checksum(head, decoded[:_RANDOM]))

    def digest(self, raw: str) -> str:
        return self.digest_of_sha256(sha256_of(raw))

    def digest_of_sha256(self, plain: bytes) -> str:
        if self.pepper:
            plain = hmac.digest(self.pepper, plain, "sha256")
        return base64.urlsafe_b64encode(plain).decode().rstrip("=")

    def shown(self, raw: str) -> str:
        """The first 12 characters, for people to tell keys apart by; of a key that is not ours at most a third of it."""
        return raw[:_SHOWN] if self.is_well_formed(raw) else raw[: min(_SHOWN, len(raw) // 3)]

    def _checksum(self, head: str, random: bytes) -> bytes:
        text = b"checksum of " + head.encode() + random
        return (hmac.digest(self.pepper, text, "sha256") if self.pepper else sha256(text).digest())[:_CHECKSUM]


def sha256_of(raw: str) -> bytes:
    try:
        return sha256(raw.encode()).digest()
    except UnicodeEncodeError:
        # Half a surrogate pair. The way above is half as dear, and asked on every request.
        return sha256(raw.encode("utf-8", "surrogatepass")).digest()
