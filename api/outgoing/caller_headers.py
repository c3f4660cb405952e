"""Upstream learns who calls: the account, the public id of the key and the tier, in headers, and a signature of them.

The proxy adds them to the request for upstream. In an answer to `/authorize` they are for the gateway, which copies them. A header that has
nothing to say is sent empty, so that a gateway overwrites what its client may have sent under its name.

The signature is an HMAC-SHA256 over lines of text: the time in Unix seconds, the method, the path without its query, and the values of the
three headers, empty for those that are not sent. docs/configuration.md shows how to check it.
"""

import hmac
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import quote

from limiter.api.answers import Answer, Header

Field = Literal["account", "key", "tier"]
FIELDS: tuple[Field, ...] = ("account", "key", "tier")

_PREFIX = b"x-limiter-"
# Visible ASCII, except for the escape itself.
_PLAIN = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")
_CACHED = 4096


class Caller(NamedTuple):
    """Who calls: the account, the id of the key and the tier. All are empty for a caller without a key."""

    account: str = ""
    key: str = ""
    tier: str = ""


ANONYMOUS = Caller()


class CallerHeaders:
    """`fields` are sent, in this order. With a secret they are signed."""

    def __init__(self, fields: Sequence[Field], secret: bytes | None = None, clock: Callable[[], float] = time.time) -> None:
        self._fields = tuple(field for field in FIELDS if field in fields)
        self._secret, self._clock = secret, clock
        # Bounded by its size; never invalidated, as a caller does not change. 0.1 us instead of 6.
        self._lines = lru_cache(_CACHED)(self._render)

    @property
    def signs(self) -> bool:
        return self._secret is not None

    def stated(self, caller: Caller, answer: Answer) -> Answer:
        """The answer to an allowed request, with the headers about its caller in front."""
        return Answer(answer.status, self._lines(caller) + answer.head, answer.body)

    def signed(self, answer: Answer, method: str, path: str) -> Answer:
        """An answer of `stated`, with the signature in front."""
        if self._secret is None:
            return answer
        lines = answer.head.split(b"\r\n", len(self._fields))[:-1]
        values = dict(zip(self._fields, (line.partition(b": ")[2] for line in lines), strict=True))
        now = b"%d" % self._clock()
        text = [now, method.encode("latin-1"), path.encode("latin-1"), *(values.get(field, b"") for field in FIELDS)]
        signature = hmac.digest(self._secret, b"\n".join(text), "sha256").hex().encode()
        return Answer(answer.status, b"%bsignature: t=%b,v1=%b\r\n%b" % (_PREFIX, now, signature, answer.head), answer.body)

    def _render(self, caller: Caller) -> bytes:
        values = [(field, quote(getattr(caller, field), safe=_PLAIN).encode()) for field in self._fields]
        return b"".join(b"%b%b: %b\r\n" % (_PREFIX, field.encode(), value) for field, value in values)


def separated(headers: Sequence[Header]) -> tuple[list[Header], list[Header]]:
    """The headers for upstream, and those for the client."""
    return [each for each in headers if each[0].startswith(_PREFIX)], [each for each in headers if not each[0].startswith(_PREFIX)]
