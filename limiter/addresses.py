"""IP addresses and networks. Everything that parses, compares or counts by an address uses this module.

An IPv4 address written as IPv6 (`::ffff:203.0.113.7`) is that IPv4 address everywhere.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Trusts = Callable[[str], bool]

# An IPv6 address with an IPv4 tail and a zone fits; anything longer is not an address.
_MAX_TEXT = 64
_UNKNOWN = "unknown"
_MAPPED = IPv6Network("::ffff:0:0/96")
# One customer usually holds a whole /64, so limits count it as one subject.
_CUSTOMER_BITS = 64

# More proxies than these do not stand in a row. A client may write a long list to the left of them, which is not split.
_MAX_PROXIES = 16

# The caches are bounded by this size, and keep short texts only. They are never invalidated, as the results depend on the text alone. They
# save 2 us a lookup, and 16 for the network of an IPv6 address: a request makes up to three.
_CACHED = 4096


def parse_address(text: str) -> Address | None:
    """None if the text is not an address."""
    try:
        found = ip_address(text) if len(text) <= _MAX_TEXT else None
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        # A zone, as in `fe80::1%eth0`, can be any text.
        return found.ipv4_mapped or (IPv6Address(int(found)) if found.scope_id else found)
    return found


def parse_network(text: str) -> Network:
    """`203.0.113.0/24` or a single address. Raises ValueError for anything else, and for bits set outside the mask."""
    found = ip_network(text)
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        tail = found.network_address.ipv4_mapped
        return IPv4Network((int(tail or 0), found.prefixlen - _MAPPED.prefixlen))
    return found


@lru_cache(_CACHED)
def normalize(text: str) -> str:
    """The canonical spelling of the address of a peer; text that is not an address is returned unchanged."""
    return canonical(text) or text


@lru_cache(_CACHED)
def _canonical(text: str) -> str | None:
    found = parse_address(text)
    return None if found is None else str(found)


def canonical(text: str) -> str | None:
    """The canonical spelling of an address. None if the text is not an address."""
    return _canonical(text) if len(text) <= _MAX_TEXT else None


def subject_of(text: str) -> str:
    """The subject of a limit by address: an IPv4 address, the /64 network of an IPv6 address, or `unknown`."""
    return _subject_of(text) if len(text) <= _MAX_TEXT else _UNKNOWN


@lru_cache(_CACHED)
def _subject_of(text: str) -> str:
    found = parse_address(text)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, _CUSTOMER_BITS), strict=False))
    return _UNKNOWN if found is None else str(found)


def hop_address(text: str) -> str | None:
    """`203.0.113.7`, `203.0.113.7:4711`, `2001:db8::7` or `[2001:db8::7]:4711`. None if the text is not an address."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return canonical(text)


def client_behind(peer: str, forwarded_for: str, trusts: Trusts) -> str:
    """The rightmost address of X-Forwarded-For that is not a trusted proxy's. A client may have written anything to the left of it.

    Raises ValueError if the header has anything else than addresses up to there.
    """
    client = peer
    for part in reversed(forwarded_for.rsplit(",", _MAX_PROXIES)):
        hop = hop_address(part)
        if hop is None:
            raise ValueError(f"X-Forwarded-For must list IP addresses, not {part.strip()[:64]!r}")
        client = hop
        if not trusts(hop):
            return client
    return client


def is_loopback(text: str) -> bool:
    """Whether it is an address of this machine, such as 127.0.0.1."""
    found = parse_address(text)
    return found is not None and found.is_loopback


class Networks:
    """A list of networks: `"10.1.2.3" in Networks([...])`. An empty one contains nothing. Results are cached by address."""

    __slots__ = ("_cached", "listed")

    def __init__(self, listed: Iterable[Network] = ()) -> None:
        self.listed = tuple(listed)
        self._cached = lru_cache(_CACHED)(self._contains)

    def __contains__(self, text: str) -> bool:
        return bool(self.listed) and len(text) <= _MAX_TEXT and self._cached(text)

    def _contains(self, text: str) -> bool:
        found = parse_address(text)
        return found is not None and any(found in network for network in self.listed)
