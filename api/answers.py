"""HTTP answers of the data plane. They are kept as bytes, because every request has one."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

from starlette.types import Scope, Send

from limiter.problems import CONTENT_TYPE, problem_body

Header = tuple[bytes, bytes]

NO_STORE: Header = (b"cache-control", b"no-store")
PROBLEM_TYPE: Header = (b"content-type", CONTENT_TYPE.encode())

# The scope's entry for our own server's shortcut: a function that writes an Answer, or returns False if it cannot.
WRITE_ANSWER = "limiter.write_answer"
# The scope's entry of an application that holds bytes of the request or its answer: a function that returns how many.
HELD = "limiter.held"

# The refusals that nginx's auth_request passes on to the client. It turns every other one into a 500.
_PASSED_BY_NGINX = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class Answer(NamedTuple):
    """`head` has the header lines as they are sent, without those that depend on the connection."""

    status: int
    head: bytes = b""
    body: bytes = b""

    @property
    def headers(self) -> list[Header]:
        lines = (line.partition(b": ") for line in self.head.split(b"\r\n") if line)
        return [(name, value) for name, _, value in lines]

    def as_forbidden(self) -> Answer:
        """For gateways that take only 401 and 403 for a refusal, and drop its body. The original status and the body go into headers."""
        if self.status == HTTPStatus.OK:
            return self
        status = self.status if self.status in _PASSED_BY_NGINX else HTTPStatus.FORBIDDEN
        return Answer(status, self.head + b"x-ratelimit-status: %d\r\nx-ratelimit-problem: %b\r\n" % (self.status, self.body), self.body)

    async def send(self, scope: Scope, send: Send) -> None:
        write = scope.get(WRITE_ANSWER)
        if write is not None and write(self):
            return
        headers = [*self.headers, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def head_of(headers: Iterable[Header]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def problem(status: int, detail: str, *, kind: str = "about:blank", headers: Iterable[Header] = (), **members: object) -> Answer:
    """An answer with a body that says what is wrong. `members` are the extra fields of the problem type."""
    return Answer(status, head_of([*headers, PROBLEM_TYPE, NO_STORE]), problem_body(status, detail, kind=kind, **members))
