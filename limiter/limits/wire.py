"""A policy as `lua/take.lua` reads it."""

from struct import Struct
from zlib import crc32

from limiter.limits import Limit, Quota, SlidingWindow
from limiter.limits.durations import SECOND, microseconds

_POLICY = Struct(">IB").pack
_LIMIT = Struct(">BBIddddd").pack
_LIFE = Struct("<d").pack
_KINDS = 4
# Version of the layout of a state in `lua/reshape.lua`: states of another version are ignored.
_LAYOUT = 1
_ALWAYS = 2**63


def tag(limit: Limit) -> int:
    """Identifies a limit's state in Redis among those of its policy, by its kind and its name."""
    return crc32(limit.name.encode()) // _KINDS * _KINDS + limit.kind


def life_us(limit: Limit) -> float:
    """How long a unit counts at most: for a bucket, until it has refilled. A state stores it, to know when a limit is over."""
    if isinstance(limit, SlidingWindow):
        return microseconds(limit.window, "window")
    if isinstance(limit, Quota):
        # A month has up to 31 days, and a change of the clocks makes a period longer.
        return (1.1 * limit.seconds + 3600) * SECOND
    return microseconds(limit.per, "per") / limit.refill


class PolicyWire:
    """The packed policy. Quotas send the starts of the periods around the moment, so it is packed again when a period ends.

    Packing takes 4 us, and 50 us with a quota; `at` takes 0.06 us. Bounded: one string for each policy.
    """

    __slots__ = ("_limits", "_packed", "_since_us", "_until_us", "is_constant")

    def __init__(self, limits: tuple[Limit, ...]) -> None:
        self._limits = limits
        self._packed = b""
        self._since_us = self._until_us = 0
        self.is_constant = not any(isinstance(limit, Quota) for limit in limits)

    def at(self, now_us: int) -> bytes:
        if not self._since_us <= now_us < self._until_us:
            self._pack(now_us)
        return self._packed

    def _pack(self, now_us: int) -> None:
        since, until = 0, _ALWAYS
        packed, lives, tags = [], b"", b""
        for limit in self._limits:
            if isinstance(limit, Quota):
                arguments = limit.starts(now_us)
                since, until = max(since, arguments[1]), min(until, arguments[2])
            else:
                arguments = limit.arguments()
            lives += _LIFE(life_us(limit))
            tags += tag(limit).to_bytes(4)
            packed.append(_LIMIT(limit.kind, limit.shadow, tag(limit), limit.capacity, *arguments))
        count = len(packed)
        ending = lives + tags + bytes([_LAYOUT * 32 + count])
        self._packed = _POLICY(crc32(ending), count) + ending + b"".join(packed)
        self._since_us, self._until_us = since, until
