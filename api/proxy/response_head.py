"""The head of a response, from the one that upstream sent to the one that the client receives. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Self

from limiter.api.proxy.heads import HOP_BY_HOP, HTTP_VERSIONS, Header, Values, is_chunked, options_of, partition
from limiter.api.proxy.proxy_errors import MalformedResponse

NO_CONTENT, NOT_MODIFIED = 204, 304

_SPECIAL = HOP_BY_HOP | {b"content-length", b"date"}
_FINAL_STATUSES = range(200, 600)


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """`special` are the headers that mean something to a proxy, `kept` the others."""

    version: str
    status: int
    special: Values
    kept: list[Header]

    @classmethod
    def of(cls, version: str, status: int, headers: Iterable[Header]) -> Self:
        return cls(version, status, *partition(headers, _SPECIAL))


@dataclass(frozen=True, slots=True)
class Framing:
    """`until_close`: the response ends with its connection. `keep_alive`: the connection can carry another response."""

    until_close: bool
    keep_alive: bool


def response_headers(head: ResponseHead, ours: Sequence[Header]) -> list[Header]:
    """The headers for the client: upstream's, with those that are named in `ours` replaced."""
    replaced = {name.lower() for name, _ in ours}
    headers = [header for header in head.kept if header[0] not in replaced]
    if head.status not in (NO_CONTENT, NOT_MODIFIED):
        headers += [(b"content-length", value) for value in head.special.get(b"content-length", [])]
    headers += [(b"date", value) for value in head.special.get(b"date") or [formatdate(usegmt=True).encode()]]
    headers.append((b"via", head.version.encode() + b" limiter"))
    headers += ours
    return headers


def response_framing(head: ResponseHead, *, bodiless: bool) -> Framing:
    """Refuses a head that two readers could understand as two different responses (RFC 9112 §6.3)."""
    if head.version not in HTTP_VERSIONS or head.status not in _FINAL_STATUSES:
        raise MalformedResponse("The status or the HTTP version of the upstream's response is not valid.")
    codings, lengths = head.special.get(b"transfer-encoding"), head.special.get(b"content-length")
    if codings and (head.version == "1.0" or lengths or not is_chunked(codings)):
        raise MalformedResponse("The transfer coding of the upstream's response is ambiguous or unknown.")
    if lengths and (len(lengths) > 1 or not lengths[0].strip(b" \t").isdigit()):
        raise MalformedResponse("The upstream's response must have one Content-Length, a whole number.")

    until_close = not (bodiless or codings or lengths)
    options = options_of(head.special.get(b"connection", []))
    persistent = b"close" not in options if head.version == "1.1" else b"keep-alive" in options
    return Framing(until_close, keep_alive=persistent and not until_close)
