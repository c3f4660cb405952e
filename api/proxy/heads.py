"""What a request and a response become on their way through: RFC 9110 §7.6, RFC 9112 §6 and X-Forwarded-*.

Pure functions. Every rule about which bytes of a head are passed on lives here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Self

from starlette.types import Scope

from limiter.api.proxy.proxy_errors import MalformedResponse, RequestRefused

Header = tuple[bytes, bytes]
Values = dict[bytes, list[bytes]]

MAX_HEAD = 64 * 1024  # of a request or a response, by `head_size`
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"})
# Read here and written anew, so neither copied nor open to being nominated away by a Connection header.
REQUEST_SPECIAL = HOP_BY_HOP | FORWARDED | {b"content-length", b"expect", b"host"}
RESPONSE_SPECIAL = HOP_BY_HOP | {b"content-length", b"date"}
VERSIONS = frozenset({"1.0", "1.1"})
NO_CONTENT, NOT_MODIFIED = 204, 304
NO_WEBSOCKET = "WebSocket connections are not proxied."
FINAL_STATUSES = range(200, 600)


@dataclass(frozen=True, slots=True)
class Request:
    """What upstream is sent. `length` of the body is None when it is chunked."""

    head: bytes
    method: str
    length: int | None
    expects_continue: bool


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """`special` are the headers that mean something to a proxy, `kept` the others."""

    version: str
    status: int
    special: Values
    kept: list[Header]

    @classmethod
    def parted(cls, version: str, status: int, headers: Iterable[Header]) -> Self:
        return cls(version, status, *_part(headers, RESPONSE_SPECIAL))


@dataclass(frozen=True, slots=True)
class Framing:
    """How a response ends: by its own account, or (`until_close`) with the connection."""

    until_close: bool
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class RequestTranslator:
    """`base` goes before every path; `authority` is the Host when the client's is not kept."""

    base: bytes
    authority: bytes
    keeps_host: bool
    trusts: Callable[[str], bool]

    def translate(self, scope: Scope) -> Request:
        special, kept = _part(scope["headers"], REQUEST_SPECIAL)
        version: str = scope.get("http_version", "1.1")
        _refuse_websocket(special)
        length = _request_length(special, version)
        host = _host(special, version)
        peer = scope["client"][0] if scope.get("client") else ""
        trusted = bool(peer) and self.trusts(peer)
        if not trusted:
            kept = [header for header in kept if not _speaks_of_a_peer(header[0])]

        method: str = scope["method"]
        lines = [method.encode() + b" " + self._target(scope) + b" HTTP/1.1"]
        lines.append(b"host: " + (host if host and self.keeps_host else self.authority))
        lines += [name + b": " + value for name, value in kept]
        lines += _forwarded(special if trusted else {}, scope["scheme"].encode(), host, peer.encode())
        lines.append(b"via: " + version.encode() + b" limiter")
        if length == 0:
            lines += [b"content-length: 0"] if b"content-length" in special else []
            return Request(_head(lines), method, length, expects_continue=False)
        lines.append(b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length)
        # RFC 9110 §10.1.1: from HTTP/1.0 the expectation means nothing.
        expectations = special.get(b"expect", []) if version == "1.1" else []
        lines += [b"expect: " + value for value in expectations]
        expects_continue = any(value.lower() == b"100-continue" for value in expectations)
        return Request(_head(lines), method, length, expects_continue)

    def _target(self, scope: Scope) -> bytes:
        raw: bytes | None = scope.get("limiter.target")
        if raw is None:
            query = scope["query_string"]
            raw = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
        return raw if raw == b"*" else self.base + raw


def response_headers(head: ResponseHead, ours: Sequence[Header]) -> list[Header]:
    """Upstream's headers for the client; those named in `ours` are replaced."""
    replaced = {name.lower() for name, _ in ours}
    headers = [header for header in head.kept if header[0] not in replaced]
    if head.status not in (NO_CONTENT, NOT_MODIFIED):
        headers += [(b"content-length", value) for value in head.special.get(b"content-length", [])]
    headers += [(b"date", value) for value in head.special.get(b"date") or [formatdate(usegmt=True).encode()]]
    headers.append((b"via", head.version.encode() + b" limiter"))
    headers += ours
    return headers


def response_framing(head: ResponseHead, *, bodiless: bool) -> Framing:
    """Refuse whatever two readers could take for two different responses (RFC 9112 §6.3)."""
    if head.version not in VERSIONS or head.status not in FINAL_STATUSES:
        raise MalformedResponse("Upstream answered with a status or version that is not HTTP/1.1's.")
    codings, lengths = head.special.get(b"transfer-encoding"), head.special.get(b"content-length")
    if codings and (head.version == "1.0" or lengths or not _only_chunked(codings)):
        raise MalformedResponse("Upstream's response has an ambiguous or unknown transfer coding.")
    if lengths and (len(lengths) > 1 or not lengths[0].strip(b" \t").isdigit()):
        raise MalformedResponse("Upstream's response has no clear length.")

    until_close = not (bodiless or codings or lengths)
    options = _options(head.special.get(b"connection", []))
    persistent = b"close" not in options if head.version == "1.1" else b"keep-alive" in options
    return Framing(until_close, keep_alive=persistent and not until_close)


def head_size(headers: Iterable[Header]) -> int:
    """The bytes these headers take in a head, each with its colon, space and line end."""
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _part(headers: Iterable[Header], special: frozenset[bytes]) -> tuple[Values, list[Header]]:
    """Part the headers that mean something here from those that are passed on as they are."""
    found: Values = {}
    kept: list[Header] = []
    for header in headers:
        if header[0] in special:
            found.setdefault(header[0], []).append(header[1])
        else:
            kept.append(header)
    if b"connection" in found:
        nominated = _options(found[b"connection"])
        kept = [header for header in kept if header[0] not in nominated]
    return found, kept


def _refuse_websocket(special: Values) -> None:
    """WebSocket gets a clear no. Other upgrades are offers that RFC 9110 §7.8 lets a server ignore, and some clients
    make them unasked (Java's with every first request)."""
    if b"upgrade" in special and b"websocket" in _options(special[b"upgrade"]):
        raise RequestRefused(NO_WEBSOCKET, status=501, error="http_upgrade_failed")


def _request_length(special: Values, version: str) -> int | None:
    codings, lengths = special.get(b"transfer-encoding"), special.get(b"content-length")
    if version not in VERSIONS:
        raise RequestRefused("Only HTTP/1.0 and HTTP/1.1 are spoken here.", status=505)
    if codings:
        if lengths or version == "1.0" or not _only_chunked(codings):
            raise RequestRefused("The request's body is framed in an ambiguous or unknown way.")
        return None
    if not lengths:
        return 0
    length = lengths[0].strip(b" \t")
    if len(lengths) > 1 or not length.isdigit():
        raise RequestRefused("The request has no clear Content-Length.")
    return int(length)


def _host(special: Values, version: str) -> bytes:
    hosts = special.get(b"host", [])
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise RequestRefused("A request needs exactly one Host.")
    return hosts[0] if hosts else b""


def _forwarded(told: Values, scheme: bytes, host: bytes, peer: bytes) -> list[bytes]:
    """X-Forwarded-* as a trusted peer told them (`told`), with that peer added; otherwise as seen from here."""
    lines = [b"x-forwarded-proto: " + b", ".join(told.get(b"x-forwarded-proto", [scheme]))]
    addresses = told.get(b"x-forwarded-for", []) + ([peer] if peer else [])
    if addresses:
        lines.append(b"x-forwarded-for: " + b", ".join(addresses))
    hosts = told.get(b"x-forwarded-host", [host])
    if hosts[0]:
        lines.append(b"x-forwarded-host: " + b", ".join(hosts))
    if b"forwarded" in told:
        node = b'"[%s]"' % peer if b":" in peer else peer
        lines.append(b"forwarded: " + b", ".join([*told[b"forwarded"], b"for=%s;proto=%s" % (node, scheme)]))
    return lines


def _speaks_of_a_peer(name: bytes) -> bool:
    """Whether upstream may take this header for a proxy's word; CGI-like servers read `_` as `-`."""
    return b"forwarded" in name or name in (b"x-real-ip", b"x_real_ip")


def _head(lines: list[bytes]) -> bytes:
    head = b"\r\n".join([*lines, b"", b""])
    # The server's parser lets no CR or LF through. Were it ever to, this is where a second request would begin.
    if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1 or b"\0" in head:
        raise RequestRefused("The request's head holds a line break where none may be.")
    return head


def _options(values: Iterable[bytes]) -> set[bytes]:
    return {option.strip(b" \t").lower() for value in values for option in value.split(b",")}


def _only_chunked(codings: list[bytes]) -> bool:
    return len(codings) == 1 and codings[0].strip(b" \t").lower() == b"chunked"
