"""The original request: what the gateway that asks `/authorize` says of its client, or else the request itself.

    gateway      method                 path
    nginx        X-Original-Method      X-Original-URI
    forwarded    X-Forwarded-Method     X-Forwarded-Uri
    envoy        the request's own      the request's own, below `/authorize`
    none         the request's own      the request's own, below `/authorize`

X-Forwarded-For and X-Forwarded-Proto state the address and the scheme of the client. Only trusted peers are believed. Of their headers,
only those of the configured gateway are read: a gateway sets its own, but passes on any other as its client wrote it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from starlette.types import Scope

from limiter.addresses import Trusts, client_behind, normalize

PREFIX = "/authorize"
_AUTHORIZE, _BELOW = PREFIX.encode(), f"{PREFIX}/".encode()
_PREFIX_LENGTH = len(PREFIX)

_FOR, _PROTO = b"x-forwarded-for", b"x-forwarded-proto"
# Headers that only a gateway sends, with the value of `identify.gateway` for those that send them.
_SENT_BY = {
    b"x-original-method": "nginx",
    b"x-original-uri": "nginx",
    b"x-forwarded-method": "forwarded",
    b"x-forwarded-uri": "forwarded",
}
_ONLY_GATEWAYS = frozenset(_SENT_BY)

Headers = Mapping[bytes, bytes]


class Original(NamedTuple):
    """What a client asks for. The path is as on the wire."""

    method: str
    path: str
    address: str
    scheme: str


class InvalidDescription(Exception):
    """The headers do not describe one request, or come from a peer that is not believed."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Gateway:
    """How one kind of gateway describes a request. It names the method and the path in two headers, or by its own request.

    `headers` are all that are read. Without a gateway they include those that only gateways send, because these are then refused.
    """

    name: str
    method: bytes = b""
    uri: bytes = b""

    @property
    def headers(self) -> frozenset[bytes]:
        own = frozenset({self.method, self.uri}) if self.uri else frozenset[bytes]()
        return (_ONLY_GATEWAYS if self is NO_GATEWAY else own) | {_FOR, _PROTO}

    def original(self, scope: Scope, headers: Headers, trusts: Trusts) -> Original:
        """The request behind one to `/authorize`. Raises InvalidDescription."""
        method, path = scope["method"], scope["raw_path"][_PREFIX_LENGTH:].decode("latin-1")
        peer = peer_of(scope)
        is_trusted = trusts(peer)
        if self is NO_GATEWAY:
            if not _ONLY_GATEWAYS.isdisjoint(headers):
                raise _not_configured(peer, headers)
        elif not is_trusted:
            _refuse_gateways(peer, scope)
        elif self.uri:
            method, path = self._described(headers, path)
        elif not path:
            detail = f"The gateway must ask with its client's path below {PREFIX}: identify.gateway is {self.name}."
            raise InvalidDescription(400, "missing-path", detail)
        if is_trusted:
            return Original(method, path or "/", client_address(peer, headers, trusts), _scheme(scope, headers))
        return Original(method, path or "/", peer, scope["scheme"])

    def _described(self, headers: Headers, below: str) -> tuple[str, str]:
        method, uri = headers.get(self.method), headers.get(self.uri)
        if not method or not uri:
            detail = f"The gateway must send {_shown(self.method)} and {_shown(self.uri)}: identify.gateway is {self.name}."
            raise InvalidDescription(400, "missing-forward-header", detail)
        # Repeated headers are joined with a comma and a space, which no method and no path contains.
        if b"," in method or b" " in uri:
            detail = f"{_shown(self.method)} must be one method, and {_shown(self.uri)} one path without spaces."
            raise InvalidDescription(400, "conflicting-accounts", detail)
        path = uri.decode("latin-1").partition("?")[0]
        if below not in ("", "/", path):
            detail = f"{_shown(self.uri)} and the path below {PREFIX} name different paths."
            raise InvalidDescription(400, "conflicting-accounts", detail)
        return method.decode("latin-1").strip().upper(), path


NO_GATEWAY = Gateway("none")
GATEWAYS = {
    gateway.name: gateway
    for gateway in (
        Gateway("nginx", b"x-original-method", b"x-original-uri"),
        Gateway("forwarded", b"x-forwarded-method", b"x-forwarded-uri"),
        Gateway("envoy"),
        NO_GATEWAY,
    )
}


def is_authorize(scope: Scope) -> bool:
    """Whether the path is `/authorize` or below it, spelled exactly so: `original` cuts the prefix off the raw path."""
    path: bytes = scope["raw_path"]
    return path.startswith(_BELOW) or path == _AUTHORIZE


def proxied(scope: Scope, headers: Headers, trusts: Trusts) -> Original:
    """A request to the proxy: the request itself, from the address that a load balancer names, if it is trusted."""
    path = scope["raw_path"].decode("latin-1")
    peer = peer_of(scope)
    if not trusts(peer):
        return Original(scope["method"], path, peer, scope["scheme"])
    return Original(scope["method"], path, client_address(peer, headers, trusts), _scheme(scope, headers))


def peer_of(scope: Scope) -> str:
    """The normalized address of the peer, or an empty text."""
    client = scope.get("client")
    return normalize(client[0]) if client else ""


def client_address(peer: str, headers: Headers, trusts: Trusts) -> str:
    """The address of the client behind trusted proxies. Raises InvalidDescription."""
    forwarded_for = headers.get(_FOR)
    if not forwarded_for:
        return peer
    try:
        return client_behind(peer, forwarded_for.decode("latin-1"), trusts)
    except ValueError as error:
        raise InvalidDescription(400, "invalid-forwarded-for", f"{error}.") from None


def _scheme(scope: Scope, headers: Headers) -> str:
    proto = headers.get(_PROTO)
    if proto is None:
        return str(scope["scheme"])
    # Of several hops the first faced the client, but only the last comes from the trusted peer.
    return proto.decode("latin-1").rpartition(",")[2].strip().lower()


def _not_configured(peer: str, headers: Headers) -> InvalidDescription:
    name = next(name for name in headers if name in _SENT_BY)
    remedy = f"set identify.gateway to {_SENT_BY[name]}, and trust the address in identify.trusted_proxies"
    detail = f"{_shown(name)} comes from {peer}, but no gateway is configured: if it is your gateway, {remedy}."
    return InvalidDescription(403, "gateway-not-configured", detail)


def _refuse_gateways(peer: str, scope: Scope) -> None:
    for name, _ in scope["headers"]:
        if name in _SENT_BY:
            remedy = "if it is your gateway, add it to identify.trusted_proxies"
            raise InvalidDescription(403, "untrusted-gateway", f"{_shown(name)} comes from {peer}, which is not trusted: {remedy}.")


def _shown(name: bytes) -> str:
    return name.decode("ascii").title().replace("Uri", "URI" if b"original" in name else "Uri")
