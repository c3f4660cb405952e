"""The kinds of limit, as data."""

import dataclasses

import pytest

from limiter import InvalidPolicy, LimiterError, Quota, SlidingWindow, TokenBucket
from limiter.errors import shown
from limiter.limits import Limit

BAD_NUMBERS = [0, -1, 1.5, 100.0, "100", None, True, float("nan"), 2**64, 10**400, 10**5000]


def test_each_constructor_creates_the_limit_that_it_names():
    assert SlidingWindow.per_second(5) == SlidingWindow(5, 1)
    assert SlidingWindow.per_minute(100) == SlidingWindow(100, 60) == SlidingWindow(100, "minute")
    assert SlidingWindow.per_hour(1000) == SlidingWindow(1000, 3600)
    assert SlidingWindow.per_day(1000, name="main", shadow=True) == SlidingWindow(1000, "24h", "main", shadow=True)
    assert TokenBucket(capacity=50, refill=1200, per="minute") == TokenBucket(50, 1200, 60)
    assert Quota.hourly(5, timezone="Asia/Kathmandu") == Quota(5, "hour", "Asia/Kathmandu")
    assert Quota.daily(10_000, timezone="Europe/Berlin") == Quota(10_000, "day", "Europe/Berlin")
    assert Quota.weekly(5, anchor=7) == Quota(5, "week", anchor=7)
    assert Quota.monthly(5, anchor=31) == Quota(5, "month", "UTC", 31)


@pytest.mark.parametrize(
    ("limit", "name"),
    [
        (SlidingWindow(1, 60), "minute"),
        (SlidingWindow(1, 3600), "hour"),
        (SlidingWindow(1, 90), "90s"),
        (SlidingWindow(1, 0.25), "250ms"),
        (SlidingWindow(1, 2**40 / 1e6 - 1e-6), "1099511627775us"),
        (SlidingWindow(1, 60, "login"), "login"),
        (TokenBucket(1, 1), "burst"),
        (Quota.daily(1), "day"),
        (Quota.monthly(1, name="plan"), "plan"),
    ],
)
def test_a_limit_is_named_after_its_duration_by_default(limit, name):
    assert limit.name == name


@pytest.mark.parametrize("make", [lambda n: SlidingWindow(n, 60), lambda n: TokenBucket(n, 1), lambda n: TokenBucket(1, n), Quota.daily])
@pytest.mark.parametrize("number", BAD_NUMBERS, ids=shown)
def test_a_capacity_is_a_whole_number_from_1(make, number):
    with pytest.raises(InvalidPolicy, match=r"^(capacity|refill) must be a whole number from 1 to [0-9,]+, not ") as caught:
        make(number)
    assert len(str(caught.value)) < 200
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, LimiterError)


@pytest.mark.parametrize("window", [0, -1, 0.0009, 1e-9, 2**40 / 1e6, "2w", 1e11])
def test_a_window_lasts_a_millisecond_to_twelve_days(window):
    with pytest.raises(InvalidPolicy, match=r"^window"):
        SlidingWindow(1, window)


@pytest.mark.parametrize(
    "limit", [SlidingWindow(2**32 - 1, 0.001), SlidingWindow(1, "12d"), TokenBucket(1, 2**32 - 1), Quota.daily(10**15 - 1)]
)
def test_the_largest_values_are_accepted(limit):
    assert limit.capacity >= 1


@pytest.mark.parametrize("capacity", [2**32, 10**16])
def test_one_more_than_the_largest_capacity_is_an_error(capacity):
    for make in (lambda: SlidingWindow(capacity, 60), lambda: TokenBucket(capacity, 1000), lambda: Quota.daily(capacity * 10**6)):
        with pytest.raises(InvalidPolicy, match=r"capacity must be a whole number from 1 to"):
            make()


def test_a_bucket_must_fill_within_ten_years():
    with pytest.raises(InvalidPolicy, match="within 10 years"):
        TokenBucket(4000, 1, "day")
    with pytest.raises(InvalidPolicy, match="within 10 years"):
        TokenBucket(1, 1, 1e-9)
    with pytest.raises(InvalidPolicy, match=r"^per"):
        TokenBucket(1, 1, 10**400)


def test_a_bucket_must_be_counted_exactly():
    with pytest.raises(InvalidPolicy, match="counted exactly"):
        TokenBucket(2**32 - 1, 2**32 - 1, "second")


@pytest.mark.parametrize("name", ["a b", "", "ü", "x" * 65, 'a"b', "a:b", "{a}", "a\n", None, 5])
def test_an_invalid_limit_name_is_an_error(name):
    with pytest.raises(InvalidPolicy, match=r"^name"):
        TokenBucket(1, 1, name=name)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((1, "fortnight"), "period must be hour, day, week or month, not 'fortnight'"),
        ((1, None), "period must be .+, not None"),
        ((1, ["day"]), r"period must be .+, not \['day'\]"),
        ((1, "day", "Mars/Olympus"), "timezone must be an IANA name such as 'Europe/Berlin', not 'Mars/Olympus'"),
        ((1, "day", ""), "timezone must be .+, not ''"),
        ((1, "day", "../UTC"), "timezone must be .+, not '../UTC'"),
        ((1, "day", "/etc/passwd"), "timezone must be .+, not '/etc/passwd'"),
        ((1, "day", "a\0b"), "timezone must be .+, not 'a"),
        ((1, "day", 1), "timezone must be .+, not 1"),
        ((1, "day", None), "timezone must be .+, not None"),
        ((1, "month", "UTC", 0), "anchor must be a day of the month from 1 to 31, not 0"),
        ((1, "month", "UTC", 32), "anchor must be a day of the month from 1 to 31, not 32"),
        ((1, "month", "UTC", 1.0), "anchor must be a day of the month from 1 to 31, not 1.0"),
        ((1, "month", "UTC", True), "anchor must be a day of the month from 1 to 31, not True"),
        ((1, "week", "UTC", 8), "anchor must be a weekday from 1 .Monday. to 7, not 8"),
        ((1, "day", "UTC", 2), "anchor must be 1 for a day, which has no other anchor, not 2"),
    ],
)
def test_a_quota_needs_an_existing_period_time_zone_and_anchor(arguments, said):
    with pytest.raises(InvalidPolicy, match=f"^{said}"):
        Quota(*arguments)


def test_a_limit_is_immutable():
    for limit in (SlidingWindow(1, 60), TokenBucket(1, 1), Quota.daily(1)):
        assert isinstance(limit, Limit)
        assert limit == dataclasses.replace(limit)
        assert hash(limit) == hash(dataclasses.replace(limit))
        assert limit != dataclasses.replace(limit, capacity=2)
        with pytest.raises(dataclasses.FrozenInstanceError):
            limit.capacity = 2


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (SlidingWindow(1, 60), 60),
        (SlidingWindow(1, 0.25), 1),
        (TokenBucket(capacity=50, refill=1200, per="minute"), 3),
        (TokenBucket(1, 7, "minute"), 9),
        (Quota.daily(1), 86400),
        (Quota.monthly(1), 2_592_000),
    ],
)
def test_a_limit_has_its_duration_in_whole_seconds(limit, seconds):
    assert limit.seconds == seconds
