"""Calendar periods: when the hour, day, week or billing month around a moment begins, in a time zone.

Starts are wall-clock times. A start that a change of the clocks skips falls on the change itself; of one that occurs twice, the first
counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from limiter.errors import InvalidPolicy, shown

# The starts of the previous period, of the current one, of the next and of the one after it: microseconds.
Starts = tuple[int, int, int, int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """`nth_start(local, n, anchor)` is the wall-clock start n periods from the one that contains `local`."""

    zone: ZoneInfo
    usual_seconds: int
    nth_start: Callable[[datetime, int, int], datetime]
    anchor: int

    def starts_around(self, now_us: int) -> Starts:
        local = (_EPOCH + timedelta(microseconds=now_us)).astimezone(self.zone)
        # Two more on each side than needed: where a clock is set back, the local date may be that of another period.
        starts = sorted({self._absolute(self.nth_start(local, n, self.anchor)) for n in range(-3, 5)})
        before = [start for start in starts if start <= now_us]
        after = starts[len(before) :]
        return before[-2], before[-1], after[0], after[1]

    def _absolute(self, wall: datetime) -> int:
        moment = wall if wall.tzinfo is UTC else wall.replace(tzinfo=self.zone, fold=0)
        return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


def _hour(local: datetime, n: int, _anchor: int) -> datetime:
    # Hours continue through a change of the clocks, so they are stepped in UTC; a change by half an hour makes one of them longer.
    moment = local.astimezone(UTC) + timedelta(hours=n)
    return _on_the_hour(_on_the_hour(moment, local.tzinfo), local.tzinfo)


def _on_the_hour(moment: datetime, zone: tzinfo | None) -> datetime:
    wall = moment.astimezone(zone)
    return moment - timedelta(minutes=wall.minute, seconds=wall.second, microseconds=wall.microsecond)


def _midnight(local: datetime) -> datetime:
    return datetime(local.year, local.month, local.day)  # noqa: DTZ001 - a wall-clock time, placed in its zone later


def _day(local: datetime, n: int, _anchor: int) -> datetime:
    return _midnight(local) + timedelta(days=n)


def _week(local: datetime, n: int, anchor: int) -> datetime:
    return _midnight(local) + timedelta(days=7 * n - (local.isoweekday() - anchor) % 7)


def _month(local: datetime, n: int, anchor: int) -> datetime:
    behind = _midnight(local) < _anchored(local.year, local.month, anchor)
    return _anchored(local.year, local.month + n - behind, anchor)


def _anchored(year: int, month: int, anchor: int) -> datetime:
    first = datetime(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)  # noqa: DTZ001
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return last if anchor > last.day else first.replace(day=anchor)


# Usual seconds, starts, the last anchor, and which anchors are accepted.
_PERIODS: dict[str, tuple[int, Callable[[datetime, int, int], datetime], int, str]] = {
    "hour": (3600, _hour, 1, "1 for an hour, which has no other anchor"),
    "day": (86400, _day, 1, "1 for a day, which has no other anchor"),
    "week": (7 * 86400, _week, 7, "a weekday from 1 (Monday) to 7"),
    "month": (30 * 86400, _month, 31, "a day of the month from 1 to 31"),
}


def named_period(period: object, timezone: object, anchor: object) -> Period:
    """The period of a quota. Raises InvalidPolicy if the arguments do not describe one."""
    zone = _zone(timezone)
    if not isinstance(period, str) or period not in _PERIODS:
        raise InvalidPolicy(f"period must be hour, day, week or month, not {shown(period)}")
    seconds, nth_start, last_anchor, accepted = _PERIODS[period]
    if isinstance(anchor, bool) or not isinstance(anchor, int) or not 1 <= anchor <= last_anchor:
        raise InvalidPolicy(f"anchor must be {accepted}, not {shown(anchor)}")
    return Period(zone, seconds, nth_start, anchor)


def _zone(timezone: object) -> ZoneInfo:
    try:
        if isinstance(timezone, str):
            return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise InvalidPolicy(
        f"timezone must be an IANA name such as 'Europe/Berlin', not {shown(timezone)} (if the system lacks time zones, install tzdata)"
    )
