"""Tokens of operators, as `Authorization: Bearer`. Browsers never send one by themselves, so another site cannot make them use it."""

import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from starlette.types import Scope

from limiter.api.command_errors import Misused
from limiter.api.settings.secret_values import file_variable, secret, secret_in

# 16 random letters and digits are more than anybody can guess over a network.
LEAST_CHARACTERS, _MOST = 16, 512
_PLAIN = re.compile(r"[\x21-\x7e]+").fullmatch


@dataclass(frozen=True, slots=True)
class Tokens:
    """Those that the sidecar was started with."""

    admin: str | None = field(default=None, repr=False)
    v1: str | None = field(default=None, repr=False)


class BearerToken:
    __slots__ = ("_digest",)

    def __init__(self, token: str) -> None:
        self._digest = _digest(token.encode("utf-8", "surrogateescape"))

    def is_in(self, scope: Scope) -> bool:
        """Whether the request has this token. Two headers are joined, so they hold no token."""
        sent = b", ".join(value for name, value in scope["headers"] if name == b"authorization")
        scheme, _, credential = sent.partition(b" ")
        # Comparing digests takes the same time for every length, so timing does not reveal the token's length.
        return scheme.lower() == b"bearer" and hmac.compare_digest(_digest(credential.strip()), self._digest)


def given_token(option: str, file: Path | None, variable: str) -> str | None:
    """The token from the file or else from the environment; None if neither is set. It is not an argument, because `ps` shows those."""
    # The variable of the file sets the option, too.
    is_given = file is not None and str(file) != os.environ.get(file_variable(variable))
    token = secret_in(file, option) if file is not None and is_given else secret(variable)
    return None if token is None else token.strip() or None


def check_strength(token: str, source: str) -> None:
    """Raises Misused without the value of a token that somebody could guess, or that no client could send."""
    if not _PLAIN(token) or not LEAST_CHARACTERS <= len(token) <= _MOST:
        accepted = f"{LEAST_CHARACTERS} to {_MOST} printable ASCII characters without spaces"
        found = f"{len(token)} characters" if _PLAIN(token) else "one with other characters"
        raise Misused(f"{source} must have {accepted}, not {found}: `openssl rand -hex 16` makes one")


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
