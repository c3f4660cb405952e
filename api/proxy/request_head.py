"""The head of a request, from the one that the client sent to the one that upstream receives. Pure functions."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.types import Scope

from limiter.api.identity.credentials import CREDENTIAL_HEADERS
from limiter.api.proxy.heads import HOP_BY_HOP, HTTP_VERSIONS, Header, Values, authority, is_chunked, options_of, partition
from limiter.api.proxy.proxy_errors import RequestRefused
from limiter.api.routes.faults import FRAGMENT

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
NO_WEBSOCKET = "WebSocket connections are not proxied."

_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"})
_OF_CALLER = re.compile(rb"x[^a-z0-9]limiter[^a-z0-9]").match
# The proxy writes these itself. They are not copied, and a Connection header cannot remove them.
_SPECIAL = HOP_BY_HOP | _FORWARDED | {b"content-length", b"expect", b"host"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request to upstream. `length` is that of the body; None if the body is chunked."""

    head: bytes
    method: str
    length: int | None
    expects_continue: bool


@dataclass(frozen=True, slots=True)
class RequestTranslator:
    """`base` goes before every path. `authority` replaces the client's Host unless `keeps_host`."""

    base: bytes
    authority: bytes
    keeps_host: bool
    trusts: Callable[[str], bool]

    def translate(self, scope: Scope, caller: Sequence[Header] = ()) -> Request:
        """`caller` says who calls. What the client sent under such names is removed."""
        special, kept = partition(scope["headers"], _SPECIAL, CREDENTIAL_HEADERS)  # upstream gets the key that was judged
        version: str = scope.get("http_version", "1.1")
        method: str = scope["method"]
        _refuse_websocket(special)
        length = _body_length(special, version)
        lines = [
            method.encode() + b" " + self._target(scope) + b" HTTP/1.1",
            *self._routing(scope, special, kept, _host(special, version)),
            b"via: " + version.encode() + b" limiter",
            *_framing(special, length),
            *(name + b": " + value for name, value in caller),
        ]
        # RFC 9110 §10.1.1: an expectation of an HTTP/1.0 client is ignored. Without a body there is nothing to wait for.
        expectations = special.get(b"expect", []) if version == "1.1" and length != 0 else []
        lines += [b"expect: " + value for value in expectations]
        return Request(_joined(lines), method, length, any(value.lower() == b"100-continue" for value in expectations))

    def _routing(self, scope: Scope, special: Values, kept: list[Header], host: bytes) -> list[bytes]:
        """Host, the client's own headers, and X-Forwarded-*."""
        peer = scope["client"][0] if scope.get("client") else ""
        trusted = bool(peer) and self.trusts(peer)
        lines = [b"host: " + (host if host and self.keeps_host else self.authority)]
        lines += [name + b": " + value for name, value in kept if not _states_a_caller(name) and (trusted or not _claims_a_peer(name))]
        return lines + _forwarded(special if trusted else {}, scope["scheme"].encode(), host, peer.encode())

    def _target(self, scope: Scope) -> bytes:
        """The path that was judged, and the query."""
        query = scope["query_string"]
        target: bytes = scope["raw_path"] + (b"?" + query if query or "limiter.empty_query" in scope else b"")
        return target if target == b"*" else self.base + target


def _refuse_websocket(special: Values) -> None:
    """Refuses WebSocket. Other upgrades are ignored (RFC 9110 §7.8), as some clients, such as Java's, offer one in every request."""
    if b"upgrade" in special and b"websocket" in options_of(special[b"upgrade"]):
        raise RequestRefused(NO_WEBSOCKET, status=501, error="http_upgrade_failed")


def _body_length(special: Values, version: str) -> int | None:
    codings, lengths = special.get(b"transfer-encoding"), special.get(b"content-length")
    if version not in HTTP_VERSIONS:
        raise RequestRefused("Only HTTP/1.0 and HTTP/1.1 are supported.", status=505)
    if codings:
        if lengths or version == "1.0" or not is_chunked(codings):
            raise RequestRefused("The framing of the request's body is ambiguous or unknown.")
        return None
    if not lengths:
        return 0
    length = lengths[0].strip(b" \t")
    if len(lengths) > 1 or not length.isdigit():
        raise RequestRefused("The request must have one Content-Length, a whole number.")
    return int(length)


def _framing(special: Values, length: int | None) -> list[bytes]:
    if length is None:
        return [b"transfer-encoding: chunked"]
    return [b"content-length: %d" % length] if length or b"content-length" in special else []


def _host(special: Values, version: str) -> bytes:
    hosts = special.get(b"host", [])
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise RequestRefused("The request must have exactly one Host.")
    return hosts[0] if hosts else b""


def _forwarded(received: Values, scheme: bytes, host: bytes, peer: bytes) -> list[bytes]:
    """X-Forwarded-* as received from a trusted peer, extended by that peer; without `received`, as this proxy sees the client."""
    lines = [b"x-forwarded-proto: " + b", ".join(received.get(b"x-forwarded-proto", [scheme]))]
    addresses = received.get(b"x-forwarded-for", []) + ([peer] if peer else [])
    if addresses:
        lines.append(b"x-forwarded-for: " + b", ".join(addresses))
    hosts = received.get(b"x-forwarded-host", [host])
    if hosts[0]:
        lines.append(b"x-forwarded-host: " + b", ".join(hosts))
    if b"forwarded" in received:
        node = b'"[%s]"' % peer if b":" in peer else peer
        lines.append(b"forwarded: " + b", ".join([*received[b"forwarded"], b"for=%s;proto=%s" % (node, scheme)]))
    return lines


def _claims_a_peer(name: bytes) -> bool:
    """Whether upstream may read this header as a proxy's statement about the client. CGI-like servers read `_` as `-`."""
    return b"forwarded" in name or name in (b"x-real-ip", b"x_real_ip")


def _states_a_caller(name: bytes) -> bool:
    """Whether upstream may read this header as one that only the proxy sends. CGI-like servers fold every punctuation mark to `_`."""
    return b"limiter" in name and _OF_CALLER(name) is not None


def _joined(lines: list[bytes]) -> bytes:
    head = b"\r\n".join([*lines, b"", b""])
    # The server's parser accepts no CR or LF in a header. If it ever did, a second request could begin here.
    if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1 or b"\0" in head:
        raise RequestRefused("The request's head must not contain a line break or NUL in a header.")
    return head


def check_request(method: bytes, target: bytes, headers: list[Header], *, upgrades: bool) -> None:
    """Raises RequestRefused for a head that others could read differently."""
    if upgrades and (method == b"CONNECT" or _has_body(headers)):
        raise RequestRefused("A request to upgrade the protocol must not have a body.", status=501)
    if b"#" in target:
        raise RequestRefused(FRAGMENT.detail)
    if target[:1] != b"/" and target != b"*" and not _names_host(target, headers):
        raise RequestRefused("The request's target and its Host must name the same authority.")


def _has_body(headers: list[Header]) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers)


def _names_host(target: bytes, headers: list[Header]) -> bool:
    named = authority(target.partition(b"://")[2]).lower()
    return bool(named) and [value.lower() for name, value in headers if name == b"host"] == [named]
