"""The original request: what a gateway says of it in headers or in the path, or else the request itself.

    nginx           X-Original-Method, X-Original-URI (as its configuration sets them)
    Traefik, Caddy  X-Forwarded-Method, X-Forwarded-Uri
    Envoy           the request's own method, and its path below `/authorize`
    each of them    X-Forwarded-For, X-Forwarded-Proto

Only a trusted peer is believed. A gateway passes its clients' headers on beside its own, so a second account of the path that differs
from the first was made up by a client: such a request is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.types import Scope

from limiter.addresses import normalize, parse_address

PREFIX = "/authorize"
NAMES = frozenset(
    {
        b"x-original-method",
        b"x-original-uri",
        b"x-forwarded-method",
        b"x-forwarded-uri",
        b"x-forwarded-for",
        b"x-forwarded-proto",
    }
)
_FAMILIES = ((b"x-original-uri", b"x-original-method"), (b"x-forwarded-uri", b"x-forwarded-method"))

Trusts = Callable[[str], bool]
Found = Mapping[bytes, bytes]


class ConflictingAccounts(Exception):
    """Two accounts of the original path that differ."""


class Original(NamedTuple):
    """What a client asks. A tuple, as one is made for every request."""

    method: str
    path: str
    address: str
    scheme: str


def original(scope: Scope, found: Found, trusts: Trusts) -> Original:
    """What is asked on `/authorize`: for a gateway's client, or by the peer for itself. Paths are as on the wire."""
    below = scope["raw_path"].decode("latin-1")[len(PREFIX) :]
    peer = peer_of(scope)
    if not (peer and trusts(peer)):
        return Original(scope["method"], below or "/", peer, scope["scheme"])
    method, path = _told(scope["method"], below, found)
    return Original(method, path, client_address(peer, found, trusts), _scheme(scope, found))


def proxied(scope: Scope, found: Found, trusts: Trusts) -> Original:
    """What is asked of us as the proxy: the request itself, from the address that a trusted peer tells."""
    path = scope["raw_path"].decode("latin-1")
    peer = peer_of(scope)
    if not (peer and trusts(peer)):
        return Original(scope["method"], path, peer, scope["scheme"])
    return Original(scope["method"], path, client_address(peer, found, trusts), _scheme(scope, found))


def peer_of(scope: Scope) -> str:
    client = scope.get("client")
    return normalize(client[0]) if client else ""


def _told(method: str, below: str, found: Found) -> tuple[str, str]:
    accounts = [(method, below)] if len(below) > 1 else []
    for uri_name, method_name in _FAMILIES:
        uri = found.get(uri_name)
        if uri is not None:
            accounts.append((_method(found.get(method_name), method), path_of(uri)))
    if len({path for _, path in accounts}) > 1:
        raise ConflictingAccounts
    return accounts[0] if accounts else (_method(_only_method(found), method), below or "/")


def _only_method(found: Found) -> bytes | None:
    return found.get(b"x-original-method") or found.get(b"x-forwarded-method")


def _method(told: bytes | None, own: str) -> str:
    return told.decode("latin-1").strip().upper() if told else own


def path_of(uri: bytes) -> str:
    """`/a%20b?c=d` is `/a%20b`."""
    return uri.decode("latin-1").partition("?")[0]


def client_address(peer: str, found: Found, trusts: Trusts) -> str:
    """The rightmost address that is not a trusted proxy's; what stands left of it is hearsay."""
    told = found.get(b"x-forwarded-for")
    client = peer
    for part in reversed(told.decode("latin-1").split(",")) if told else ():
        hop = _hop(part)
        if hop is None:
            return client
        client = hop
        if not trusts(hop):
            return client
    return client


def _hop(text: str) -> str | None:
    """`203.0.113.7`, `203.0.113.7:4711`, `2001:db8::7` or `[2001:db8::7]:4711`; None for what is no address."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    found = parse_address(text)
    return None if found is None else str(found)


def _scheme(scope: Scope, found: Found) -> str:
    told = found.get(b"x-forwarded-proto")
    if told is None:
        return str(scope["scheme"])
    # Of several hops the first faced the client, but only the last was told by the peer that is trusted.
    return told.decode("latin-1").rpartition(",")[2].strip().lower()
