"""The original request: what a gateway says of it in headers or in the path, or else the request itself.

    nginx           X-Original-Method, X-Original-URI (set by its configuration)
    Traefik, Caddy  X-Forwarded-Method, X-Forwarded-Uri
    Envoy           the request's own method, and its path below `/authorize`
    each of them    X-Forwarded-For, X-Forwarded-Proto

Only trusted peers are believed. A gateway passes its clients' headers on beside its own, so if two sources name different paths, a
client made one of them up. Such a request is refused.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.types import Scope

from limiter.addresses import normalize, parse_address

PREFIX = "/authorize"
_FAMILIES = ((b"x-original-uri", b"x-original-method"), (b"x-forwarded-uri", b"x-forwarded-method"))
HEADERS = frozenset({b"x-forwarded-for", b"x-forwarded-proto"}.union(*_FAMILIES))
_AUTHORIZE, _BELOW = PREFIX.encode(), f"{PREFIX}/".encode()

Trusts = Callable[[str], bool]
Headers = Mapping[bytes, bytes]


class ConflictingPaths(Exception):
    """Two sources name different original paths."""


class Original(NamedTuple):
    """What a client asks for. The path is as on the wire."""

    method: str
    path: str
    address: str
    scheme: str


def is_authorize(scope: Scope) -> bool:
    """Whether the path is `/authorize` or below it, spelled exactly so: `original` cuts the prefix off the raw path."""
    path: bytes = scope["raw_path"]
    return path.startswith(_BELOW) or path == _AUTHORIZE


def original(scope: Scope, headers: Headers, trusts: Trusts) -> Original:
    """The request behind one to `/authorize`: a gateway asks for its client, any other peer for itself."""
    below = scope["raw_path"].decode("latin-1")[len(PREFIX) :]
    peer = peer_of(scope)
    if not trusts(peer):
        return Original(scope["method"], below or "/", peer, scope["scheme"])
    method, path = _original_target(scope["method"], below, headers)
    return Original(method, path, client_address(peer, headers, trusts), _scheme(scope, headers))


def proxied(scope: Scope, headers: Headers, trusts: Trusts) -> Original:
    """A request to the proxy: the request itself, from the address that a trusted peer names."""
    path = scope["raw_path"].decode("latin-1")
    peer = peer_of(scope)
    if not (peer and trusts(peer)):
        return Original(scope["method"], path, peer, scope["scheme"])
    return Original(scope["method"], path, client_address(peer, headers, trusts), _scheme(scope, headers))


def peer_of(scope: Scope) -> str:
    """The normalized address of the peer, or an empty text."""
    client = scope.get("client")
    return normalize(client[0]) if client else ""


def client_address(peer: str, headers: Headers, trusts: Trusts) -> str:
    """The rightmost address that is not a trusted proxy's. A client may have written anything to the left of it."""
    forwarded_for = headers.get(b"x-forwarded-for")
    client = peer
    for part in reversed(forwarded_for.decode("latin-1").split(",")) if forwarded_for else ():
        hop = hop_address(part)
        if hop is None:
            return client
        client = hop
        if not trusts(hop):
            return client
    return client


def _original_target(method: str, below: str, headers: Headers) -> tuple[str, str]:
    targets = [(method, below)] if len(below) > 1 else []
    for uri_name, method_name in _FAMILIES:
        uri = headers.get(uri_name)
        if uri is not None:
            targets.append((_method(headers.get(method_name), method), uri.decode("latin-1").partition("?")[0]))
    if len(targets) > 1 and len({path for _, path in targets}) > 1:
        raise ConflictingPaths
    if targets:
        return targets[0]
    return _method(headers.get(b"x-original-method") or headers.get(b"x-forwarded-method"), method), below or "/"


def _method(header: bytes | None, own: str) -> str:
    return header.decode("latin-1").strip().upper() if header else own


def hop_address(text: str) -> str | None:
    """`203.0.113.7`, `203.0.113.7:4711`, `2001:db8::7` or `[2001:db8::7]:4711`. None if the text is not an address."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    found = parse_address(text)
    return None if found is None else str(found)


def _scheme(scope: Scope, headers: Headers) -> str:
    proto = headers.get(b"x-forwarded-proto")
    if proto is None:
        return str(scope["scheme"])
    # Of several hops the first faced the client, but only the last comes from the trusted peer.
    return proto.decode("latin-1").rpartition(",")[2].strip().lower()
