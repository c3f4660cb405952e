"""The bound of each kind of limit, in plain Python, with the whole history and exact arithmetic.

`admitted` is the history: (microseconds, cost), oldest first. What a refund gave back is taken off the cost, which may then be a fraction.
"""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import accumulate
from zoneinfo import ZoneInfo

from limiter import Quota, SlidingWindow, TokenBucket

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def slice_of(limit) -> int:
    """How much longer than the window a unit may count."""
    return -(-us(limit.window) // 128) if isinstance(limit, SlidingWindow) else 0


def exactly_used(limit, admitted, now: int, slack: int = 0) -> int:
    """The units in use at `now`; a unit that is partly refilled counts as a whole one."""
    match limit:
        case SlidingWindow():
            return sum(cost for at, cost in admitted if at > now - us(limit.window) - slack)
        case TokenBucket():
            return -(-_missing(limit, admitted, now) // us(limit.per))
        case Quota():
            return sum(cost for at, cost in admitted if period_of(limit, at) == period_of(limit, now))


def _missing(limit: TokenBucket, admitted, now: int) -> int:
    """The level of the bucket times `per`, which is an integer."""
    missing, since = 0, 0
    for at, cost in (*admitted, (now, 0)):
        missing = max(0, missing - (at - since) * limit.refill) + cost * us(limit.per)
        since = at
    return missing


def given_back(limit, at: int, units: int, now: int):
    """What a refund of `units` that were taken `at` that time gives back: all that still counts, where it was taken."""
    match limit:
        case SlidingWindow():
            return units if at > now - us(limit.window) else 0
        case TokenBucket():
            return max(0, units - Fraction((now - at) * limit.refill, us(limit.per)))
        case Quota():
            return units if period_of(limit, at) == period_of(limit, now) else 0


def period_of(limit: Quota, at: int):
    """A name for the calendar period, by local time. For time zones whose clocks are not set back across midnight."""
    wall = (_EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(limit.timezone))
    match limit.period:
        case "hour":
            return wall.strftime("%F %H %z")
        case "day":
            return wall.date()
        case "week":
            return wall.date() - timedelta(days=(wall.isoweekday() - limit.anchor) % 7)
        case "month":
            return _billing_month(wall, limit.anchor)


def _billing_month(wall: datetime, anchor: int):
    """The year and month in which the current billing month began. A late anchor falls on the last day of a short month."""
    tomorrow = wall.date() + timedelta(days=1)
    begun = wall.day >= anchor or tomorrow.month != wall.month
    began = wall if begun else wall.replace(day=1) - timedelta(days=1)
    return began.year, began.month


def assert_ceiling(limit, admitted) -> None:
    """Asserts the bound: no interval holds more admissions than the limit allows."""
    match limit:
        case SlidingWindow():
            for start, _ in admitted:
                held = sum(cost for at, cost in admitted if start <= at < start + us(limit.window))
                assert held <= limit.capacity, (limit, start, held)
        case TokenBucket():
            totals = [0, *accumulate(cost for _, cost in admitted)]
            for i, (start, _) in enumerate(admitted):
                for j, (stop, _) in enumerate(admitted[i:], i):
                    held = totals[j + 1] - totals[i]
                    assert (held - limit.capacity) * us(limit.per) <= (stop - start) * limit.refill, (limit, start, stop, held)
        case Quota():
            for period in {period_of(limit, at) for at, _ in admitted}:
                held = sum(cost for at, cost in admitted if period_of(limit, at) == period)
                assert held <= limit.capacity, (limit, period, held)
