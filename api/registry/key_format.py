"""The format of issued keys, and the digest by which every key is known.

An issued key is `<prefix>_<live|test>_` and 32 base32 characters: 128 random bits and a checksum of 32 bits. With a pepper, the checksum is
an HMAC. A mistyped or invented key is therefore refused without asking Redis.

The digest of a key is its SHA-256 or, with a pepper, the HMAC-SHA-256 of that SHA-256. The plain SHA-256 of a key is thus enough to import
it, and guesses cannot be tested against a stolen copy of Redis without the pepper.
"""

import base64
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, Self, get_args

from limiter.api.registry.registry_errors import InvalidRecord
from limiter.api.settings.secret_values import PEPPER, secret

Environment = Literal["live", "test"]
ENVIRONMENTS: tuple[str, ...] = get_args(Environment)

# A key of 16 random letters and digits has 80 bits or more.
MIN_KEY_CHARACTERS = 16
MAX_KEY_BYTES = 512
_RANDOM_BYTES, _CHECKSUM_BYTES = 16, 4
_DECODED_BYTES = _RANDOM_BYTES + _CHECKSUM_BYTES
# Translates the digits of base32 to those of `int`, and all other bytes to none. `base64.b32decode` takes 3 us, `int` 0.5.
_BASE32 = b"abcdefghijklmnopqrstuvwxyz234567"
_DIGITS = bytes(b"0123456789abcdefghijklmnopqrstuv!"[_BASE32.find(byte)] for byte in range(256))
_MIN_PEPPER_BYTES = 16

_SHOWN = 12
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class KeyFormat:
    """`KeyFormat("ff")` issues and recognises `ff_live_…` and `ff_test_…`. Keys issued with another pepper are not well-formed."""

    prefix: str = "ff"
    pepper: bytes = field(default=b"", repr=False)
    _heads: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise InvalidRecord(
                f"key prefix must be 1 to 16 lower-case letters and digits, beginning with a letter, such as 'ff', not {self.prefix!r}"
            )
        if 0 < len(self.pepper) < _MIN_PEPPER_BYTES:
            raise InvalidRecord(f"{PEPPER} must have {_MIN_PEPPER_BYTES} or more random bytes, not {len(self.pepper)}")
        object.__setattr__(self, "_heads", tuple(f"{self.prefix}_{environment}_" for environment in ENVIRONMENTS))

    @classmethod
    def from_environment(cls, prefix: str = "ff", environment: Mapping[str, str] = os.environ) -> Self:
        """With the pepper in LIMITER_PEPPER or LIMITER_PEPPER_FILE, if set."""
        return cls(prefix, (secret(PEPPER, environment) or "").encode())

    def generate(self, environment: Environment = "live") -> str:
        head = f"{self.prefix}_{environment}_"
        random = secrets.token_bytes(_RANDOM_BYTES)
        return head + base64.b32encode(random + self._checksum(head, random)).decode().lower()

    def may_be_known(self, raw: str) -> bool:
        """False for text that cannot be a key of any account: a lookup can be saved."""
        # The length in characters first, so that encoding is never long.
        if not 0 < len(raw) <= MAX_KEY_BYTES or (not raw.isascii() and len(raw.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES):
            return False
        return self.is_well_formed(raw) if self.is_ours(raw) else raw.isprintable()

    def is_ours(self, raw: str) -> bool:
        """Whether it begins as an issued key does; the rest may be wrong."""
        return raw.startswith(self._heads)

    def is_well_formed(self, raw: str) -> bool:
        """Whether it has the beginning, the length and the checksum of an issued key."""
        head, _, code = raw.rpartition("_")
        head += "_"
        if head not in self._heads or len(code) != _DECODED_BYTES * 8 // 5:
            return False
        try:
            decoded = int(code.encode().translate(_DIGITS), 32).to_bytes(_DECODED_BYTES)
        except ValueError:
            return False
        # In constant time, because a checksum made with the pepper is secret.
        return hmac.compare_digest(decoded[_RANDOM_BYTES:], self._checksum(head, decoded[:_RANDOM_BYTES]))

    def digest(self, raw: str) -> str:
        return self.digest_of_sha256(sha256_of(raw))

    def digest_of_sha256(self, plain: bytes) -> str:
        if self.pepper:
            plain = hmac.digest(self.pepper, plain, "sha256")
        return base64.urlsafe_b64encode(plain).decode().rstrip("=")

    def shown(self, raw: str) -> str:
        """The first 12 characters, by which people tell keys apart; at most a third of a key that was not issued here."""
        return raw[:_SHOWN] if self.is_well_formed(raw) else raw[: min(_SHOWN, len(raw) // 3)]

    def _checksum(self, head: str, random: bytes) -> bytes:
        text = b"checksum of " + head.encode() + random
        return (hmac.digest(self.pepper, text, "sha256") if self.pepper else sha256(text).digest())[:_CHECKSUM_BYTES]


def sha256_of(raw: str) -> bytes:
    try:
        return sha256(raw.encode()).digest()
    except UnicodeEncodeError:
        # Half of a surrogate pair. Plain encode() comes first because it takes half the time and runs on every request.
        return sha256(raw.encode("utf-8", "surrogatepass")).digest()
