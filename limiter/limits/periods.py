"""Calendar periods: when the day, the week or the billing month around a moment begins, in a time zone.

Starts are wall-clock times. One that a change of the clocks skips falls on the change itself; one that comes twice counts the first time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from limiter.errors import InvalidPolicy, shown

# The starts of the period before, of the one under way, of the next, and of the one after it: microseconds.
Starts = tuple[int, int, int, int]

_WEEKDAYS, _MONTHDAYS = 7, 31
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """`nth_start(local, n)` is the wall-clock start n periods from the one in which `local` lies."""

    zone: ZoneInfo
    usual_seconds: int
    nth_start: Callable[[datetime, int], datetime]

    def starts_around(self, now_us: int) -> Starts:
        local = (_EPOCH + timedelta(microseconds=now_us)).astimezone(self.zone)
        # Two more on each side than are wanted: where a clock is set back, the wall's date is not the period's.
        starts = sorted({self._absolute(self.nth_start(local, n)) for n in range(-3, 5)})
        before = [start for start in starts if start <= now_us]
        after = starts[len(before) :]
        return before[-2], before[-1], after[0], after[1]

    def _absolute(self, wall: datetime) -> int:
        moment = wall if wall.tzinfo is UTC else wall.replace(tzinfo=self.zone, fold=0)
        return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


def _hour(local: datetime, n: int) -> datetime:
    # Hours go on through a change of the clocks, so they are stepped in UTC; a change by half an hour makes one of them longer.
    moment = local.astimezone(UTC) + timedelta(hours=n)
    return _on_the_hour(_on_the_hour(moment, local.tzinfo), local.tzinfo)


def _on_the_hour(moment: datetime, zone: tzinfo | None) -> datetime:
    wall = moment.astimezone(zone)
    return moment - timedelta(minutes=wall.minute, seconds=wall.second, microseconds=wall.microsecond)


def _midnight(local: datetime) -> datetime:
    return datetime(local.year, local.month, local.day)  # noqa: DTZ001 - a wall-clock time, placed in its zone later


def _day(local: datetime, n: int) -> datetime:
    return _midnight(local) + timedelta(days=n)


def _week(anchor: int) -> Callable[[datetime, int], datetime]:
    def nth_start(local: datetime, n: int) -> datetime:
        return _midnight(local) + timedelta(days=7 * n - (local.isoweekday() - anchor) % 7)

    return nth_start


def _month(anchor: int) -> Callable[[datetime, int], datetime]:
    def anchored(year: int, month: int) -> datetime:
        first = datetime(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)  # noqa: DTZ001
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        return last if anchor > last.day else first.replace(day=anchor)

    def nth_start(local: datetime, n: int) -> datetime:
        behind = _midnight(local) < anchored(local.year, local.month)
        return anchored(local.year, local.month + n - behind)

    return nth_start


def named_period(period: object, timezone: object, anchor: object) -> Period:
    """The period that a quota means, or what is wrong with it."""
    zone = _zone(timezone)
    if period in ("hour", "day"):
        if anchor != 1:
            raise InvalidPolicy(f"anchor {shown(anchor)}: a period of {period!r} has none; leave it out")
        return Period(zone, 3600, _hour) if period == "hour" else Period(zone, 86400, _day)
    if period == "week":
        return Period(zone, 7 * 86400, _week(_checked_anchor(anchor, _WEEKDAYS, "a weekday, 1 (Monday) to 7")))
    if period == "month":
        return Period(zone, 30 * 86400, _month(_checked_anchor(anchor, _MONTHDAYS, "a day of the month, 1 to 31")))
    raise InvalidPolicy(f"period {shown(period)}: use hour, day, week or month")


def _checked_anchor(anchor: object, most: int, what: str) -> int:
    if isinstance(anchor, bool) or not isinstance(anchor, int) or not 1 <= anchor <= most:
        raise InvalidPolicy(f"anchor {shown(anchor)}: use {what}")
    return anchor


def _zone(timezone: object) -> ZoneInfo:
    if not isinstance(timezone, str):
        raise InvalidPolicy(f"timezone {shown(timezone)}: use an IANA name such as 'Europe/Berlin'")
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidPolicy(
            f"timezone {shown(timezone)} is not known here: use an IANA name such as 'Europe/Berlin' (package tzdata has them all)"
        ) from None
