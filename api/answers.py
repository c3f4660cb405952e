"""An answer of the data plane, as bytes: this is the hot path, and every request goes through it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Scope, Send

Header = tuple[bytes, bytes]

NO_STORE: Header = (b"cache-control", b"no-store")

# Where our own server takes a whole answer at once: a function of the answer that is False if it cannot now.
AT_ONCE = "limiter.answer"

# What nginx's auth_request lets through to the client as it is; whatever else is refused becomes a 500 there.
_PLAIN = frozenset({HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(slots=True)
class Answer:
    """`head`: the header lines as they are sent, without those that depend on the connection."""

    status: int
    head: bytes = b""
    body: bytes = b""

    @property
    def headers(self) -> list[Header]:
        lines = (line.partition(b": ") for line in self.head.split(b"\r\n") if line)
        return [(name, value) for name, _, value in lines]

    def forbidden(self) -> Answer:
        """For a gateway that takes 403 alone for a refusal; the true status goes in a header."""
        if self.status in _PLAIN:
            return self
        return Answer(HTTPStatus.FORBIDDEN, self.head + b"x-ratelimit-status: %d\r\n" % self.status, self.body)

    async def send(self, scope: Scope, send: Send) -> None:
        at_once = scope.get(AT_ONCE)
        if at_once is not None and at_once(self):
            return
        headers = [*self.headers, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def head_of(headers: Iterable[Header]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)
