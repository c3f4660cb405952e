"""How much one call carries. Redis serves nobody else during a call, so its size is bounded by the work that it is."""

from collections.abc import Iterator, Sequence

from limiter.protocol.group import Group
from limiter.summary import WIDTH

# 128 groups of three limits take about a millisecond.
MOST_GROUPS = 128
# A group may have more limits than this. Then it travels alone.
MOST_LIMITS = 512


def fitting(groups: Sequence[Group]) -> int:
    """How many of these groups, from the first on, fit into one call: at least one."""
    room = MOST_LIMITS * WIDTH
    if sum([group.width for group in groups]) <= room:
        return min(len(groups), MOST_GROUPS)
    for count, group in enumerate(groups):
        room -= group.width
        if room < 0:
            return max(1, min(count, MOST_GROUPS))
    return len(groups)


def parcels(groups: Sequence[Group]) -> Iterator[Sequence[Group]]:
    """The groups in order, as many at a time as fit into one call."""
    start = 0
    while start < len(groups):
        end = start + fitting(groups[start : start + MOST_GROUPS])
        yield groups[start:end]
        start = end
