"""What the numbers of a decision mean: which limit is binding, how much each has left, and for how long.

Redis answers three numbers for each limit: units used, microseconds to wait, and microseconds until all units are back. Everything that
renders a decision (`Decision`, the headers, the sidecar, the CLI) gets its figures from `summarize`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from limiter.limits import Limit

# Numbers per limit: used, wait_us, reset_us.
WIDTH = 3

# The `wait_us` of a cost above the capacity: no wait is long enough.
NEVER = -1

_SECOND = 1_000_000
_MORE_THAN_ANY = 2**63


class Row(NamedTuple):
    """A limit of a decision: where its numbers begin, and a name that no other limit of the decision has."""

    at: int
    capacity: int
    name: str
    limit: Limit
    charge: int


def whole_seconds(us: int) -> int:
    """Rounded up: a client that comes back after these seconds is not early."""
    return -(-us // _SECOND)


def summarize(rows: Sequence[Row], allowed: bool, numbers: Sequence[int]) -> tuple[Row, list[int]]:
    """The binding limit, and the figures that the headers show.

    The binding limit of a denial is the one that blocks longest, that of an allowance the one with the least left.

    The figures are the remaining units and whole seconds of each row, then the capacity, remaining units and seconds of the binding limit.
    The seconds are those until a limit that blocks has room, or until all units of another limit are back.
    """
    figures: list[int] = []
    binding, at_binding, least, longest = rows[0], 0, _MORE_THAN_ANY, 0
    for row in rows:
        at, capacity, _, _, _ = row
        used, wait = numbers[at], numbers[at + 1]
        seconds_us = wait if wait > 0 else numbers[at + 2]
        # After an edit, more units may be in use than the capacity.
        left = capacity - used if used < capacity else 0
        if allowed:
            if left < least or (left == least and seconds_us > longest):
                binding, at_binding, least, longest = row, len(figures), left, seconds_us
        elif wait and longest != NEVER and (wait == NEVER or wait > longest):
            binding, at_binding, longest = row, len(figures), wait
        # As `whole_seconds` does, without a call for every limit.
        figures += (left, -(-seconds_us // _SECOND))
    figures += (binding.capacity, figures[at_binding], figures[at_binding + 1])
    return binding, figures
