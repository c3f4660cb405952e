"""Calendar periods follow local time through every change of the clocks."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limiter.limits.periods import named_period
from support.clock import DAY, HOUR, MINUTE, SECOND
from support.examples import examples

# Clock changes by an hour and by half an hour, at midnight and a minute later; a skipped day; offsets of +14, -11 and partial hours.
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "America/St_Johns", "America/Havana"),
    *(
        "Pacific/Apia",
        "Pacific/Kiritimati",
        "Pacific/Auckland",
        "Pacific/Chatham",
        "Pacific/Pago_Pago",
        "Asia/Kathmandu",
        "Africa/Monrovia",
    ),
)
ANCHORS = {"hour": 1, "day": 1, "week": 7, "month": 31}

zones = st.sampled_from(ZONES)
periods = st.sampled_from(("hour", "day", "week", "month")).flatmap(
    lambda period: st.tuples(st.just(period), st.integers(1, ANCHORS[period]))
)
# 1971 to 2036: the time zone database has few later changes.
instants = st.integers(31_536_000 * SECOND, 2_082_758_400 * SECOND)


def at(zone: str, *wall: int, fold: int = 0) -> int:
    return (datetime(*wall, tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )


def wall(zone: str, us: int) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(ZoneInfo(zone))


def changes(zone: str) -> list[int]:
    """The minutes at which the clocks of a zone changed, in three years that have changes of every kind."""
    days = range(at("UTC", 2009, 1, 1), at("UTC", 2012, 1, 1), DAY)
    changed = [day for day in days if wall(zone, day).utcoffset() != wall(zone, day + DAY).utcoffset()]
    return [minute for day in changed for minute in range(day, day + DAY, MINUTE) if offset(zone, minute) != offset(zone, minute + MINUTE)]


def offset(zone: str, us: int):
    return wall(zone, us).utcoffset()


CHANGES = {zone: changes(zone) for zone in ZONES}


def assert_no_gap_or_overlap(zone, period, anchor, now) -> None:
    """Asserts that the periods around `now` are the same for every moment at their edges."""
    calendar = named_period(period, zone, anchor)
    before, this, following, after = calendar.starts_around(now)
    assert before < this <= now < following < after
    for moment, start, stop in (
        (this - 1, before, this),
        (this, this, following),
        (following - 1, this, following),
        (following, following, after),
    ):
        assert calendar.starts_around(moment)[1:3] == (start, stop)


@examples(150)
@given(zones, periods, instants)
@example("Australia/Lord_Howe", ("hour", 1), at("Australia/Lord_Howe", 2027, 4, 4, 1, 45, fold=1))
@example("Australia/Lord_Howe", ("hour", 1), at("Australia/Lord_Howe", 2027, 10, 3, 2, 45))
def test_periods_have_no_gap_and_no_overlap(zone, period, now):
    assert_no_gap_or_overlap(zone, *period, now)


@examples(150)
@given(st.data(), st.sampled_from([zone for zone in ZONES if CHANGES[zone]]), periods)
def test_periods_have_no_gap_and_no_overlap_around_a_change_of_the_clocks(data, zone, period):
    near = st.sampled_from((0, 1, -1, MINUTE, -MINUTE, HOUR // 2, HOUR, -HOUR, DAY, -DAY)) | st.integers(-2 * DAY, 2 * DAY)
    assert_no_gap_or_overlap(zone, *period, data.draw(st.sampled_from(CHANGES[zone])) + data.draw(near))


@examples(150)
@given(zones, periods, instants)
def test_a_period_begins_at_its_anchor_in_local_time(zone, period, now):
    """If a change of the clocks skips that time, the period begins with the change."""
    name, anchor = period
    start = named_period(name, zone, anchor).starts_around(now)[1]
    begun, eve = wall(zone, start), wall(zone, start - 1)
    if begun.utcoffset() != eve.utcoffset() and (begun.hour or begun.minute):
        return
    assert (begun.minute, begun.second, begun.microsecond) == (0, 0, 0)
    if name != "hour":
        assert begun.hour == 0
    if name == "week":
        assert begun.isoweekday() == anchor
    if name == "month":
        assert begun.day == min(anchor, last_day(begun))


def last_day(moment: datetime) -> int:
    return ((moment.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)).day


def test_an_anchor_on_the_31st_is_the_last_day_of_shorter_months():
    calendar = named_period("month", "UTC", 31)
    starts, now = [], at("UTC", 2027, 12, 31)
    for _ in range(14):
        starts.append(wall("UTC", now).strftime("%m-%d"))
        now = calendar.starts_around(now)[2]
    assert starts == [
        "12-31",
        "01-31",
        "02-29",
        "03-31",
        "04-30",
        "05-31",
        "06-30",
        "07-31",
        "08-31",
        "09-30",
        "10-31",
        "11-30",
        "12-31",
        "01-31",
    ]


@pytest.mark.parametrize(("anchor", "year", "days"), [(29, 2027, "02-28"), (29, 2028, "02-29"), (30, 2028, "02-29"), (28, 2028, "02-28")])
def test_a_late_anchor_falls_on_the_last_of_february(anchor, year, days):
    start = named_period("month", "UTC", anchor).starts_around(at("UTC", year, 3, 5))[1]
    assert wall("UTC", start).strftime("%m-%d") == days


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", (2027, 3, 28), 23),
        ("Europe/Berlin", (2027, 10, 31), 25),
        ("America/New_York", (2027, 3, 14), 23),
        ("America/New_York", (2027, 11, 7), 25),
        ("America/Sao_Paulo", (2018, 11, 4), 23),
        ("America/Sao_Paulo", (2018, 2, 17), 25),
        ("America/Havana", (2027, 3, 14), 23),
        ("America/Havana", (2027, 11, 7), 25),
        ("Australia/Lord_Howe", (2027, 4, 4), 24.5),
        ("Australia/Lord_Howe", (2027, 10, 3), 23.5),
        ("America/St_Johns", (2010, 3, 14), 23),
        ("Pacific/Kiritimati", (2027, 3, 28), 24),
        ("UTC", (2028, 2, 29), 24),
    ],
)
def test_a_change_of_the_clocks_shortens_or_lengthens_the_day(zone, day, hours):
    _, start, stop, _ = named_period("day", zone, 1).starts_around(at(zone, *day, 12))
    assert wall(zone, start).date() == wall(zone, stop - 1).date() == datetime(*day, tzinfo=UTC).date()
    assert (stop - start) / HOUR == hours


def test_a_repeated_midnight_begins_the_day_the_first_time():
    """In Havana, clocks go back from one o'clock to midnight of the same day."""
    first, again = (at("America/Havana", 2027, 11, 7, 0, 30, fold=fold) for fold in (0, 1))
    calendar = named_period("day", "America/Havana", 1)
    assert again - first == HOUR
    assert calendar.starts_around(first)[1:3] == calendar.starts_around(again)[1:3]


def test_a_skipped_day_has_no_period():
    """Samoa skipped 30 December 2011."""
    calendar = named_period("day", "Pacific/Apia", 1)
    starts = calendar.starts_around(at("Pacific/Apia", 2011, 12, 31, 12))
    assert [wall("Pacific/Apia", start).day for start in starts] == [29, 31, 1, 2]
    assert {after - before for before, after in pairwise(starts)} == {DAY}


def test_a_repeated_hour_is_two_periods():
    calendar = named_period("hour", "Europe/Berlin", 1)
    for fold in (0, 1):
        now = at("Europe/Berlin", 2027, 10, 31, 2, 59, fold=fold)
        assert calendar.starts_around(now)[1:3] == (now - 59 * MINUTE, now + MINUTE)


@pytest.mark.parametrize(("zone", "hours"), [("Pacific/Kiritimati", 14), ("Pacific/Pago_Pago", -11), ("UTC", 0)])
def test_a_day_begins_at_midnight_of_its_time_zone(zone, hours):
    start = named_period("day", zone, 1).starts_around(at("UTC", 2027, 6, 15, 12))[1]
    assert (start - at("UTC", 2027, 6, 15)) % DAY == -hours * HOUR % DAY


def test_a_week_begins_on_its_anchor():
    starts = [
        wall("Europe/Berlin", named_period("week", "Europe/Berlin", anchor).starts_around(at("Europe/Berlin", 2027, 3, 31, 12))[1])
        for anchor in range(1, 8)
    ]
    assert [(start.isoweekday(), start.day) for start in starts] == [(1, 29), (2, 30), (3, 31), (4, 25), (5, 26), (6, 27), (7, 28)]
