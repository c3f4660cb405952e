"""Addresses and the networks they are in, as proxies, allow-lists and log lines spell them."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_KEPT = 1024
# An IPv6 address with an IPv4 tail and a zone; whatever is longer is none.
_LONGEST = 64
_MAPPED_BITS = 96
_MAPPED = IPv6Network("::ffff:0:0/96")


def address(text: str) -> Address | None:
    """`::ffff:203.0.113.7` is 203.0.113.7, whoever says it; None for what is no address."""
    try:
        found = ip_address(text) if len(text) <= _LONGEST else None
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        return found.ipv4_mapped or found
    return found


def network(text: str) -> Network:
    """`203.0.113.0/24`, or one address; ValueError for what is neither, or has bits beyond its mask."""
    found = ip_network(text)
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        tail = found.network_address.ipv4_mapped
        return IPv4Network((int(tail or 0), found.prefixlen - _MAPPED_BITS))
    return found


class Networks:
    """`"10.1.2.3" in Networks([...])`, at the price of a dictionary for an address seen before."""

    __slots__ = ("_kept", "listed")

    def __init__(self, listed: Iterable[Network] = ()) -> None:
        self.listed = tuple(listed)
        self._kept = lru_cache(_KEPT)(self._holds)

    def __contains__(self, text: str) -> bool:
        return bool(self.listed) and len(text) <= _LONGEST and self._kept(text)

    def _holds(self, text: str) -> bool:
        found = address(text)
        return found is not None and any(found in one for one in self.listed)
