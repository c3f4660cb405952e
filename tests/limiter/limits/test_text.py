"""Limits as text."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import InvalidPolicy, Quota, SlidingWindow, TokenBucket, parse_limit
from limiter.errors import shown

BAD = (
    *(
        "",
        "\x00",
        "100",
        "100/",
        "/minute",
        "100/fortnite",
        "100/0s",
        "100 every minute",
        "5 per",
        "5 per minutes",
        "5/m",
        "5 per m",
        "5permin",
        "5/month",
        "1__0/s",
        "1_/s",
        "100/minute; DROP",
        "100/minute\n100/hour",
    ),
    *("0/minute", "-1/minute", "1.5/minute", "1e3/minute", "_/minute", "\u0661/minute", "9" * 5000 + "/minute"),
    *("5 per", "5 per minutes", "5/m", "5 per m", "5permin", "5/month", "1__0/s", "1_/s"),
    *("burst 5", "burst 0, 1/second", "burst 5, 0/second", "shadow", "shadow shadow 5/minute"),
    *("quota 5/fortnight", "quota 5/day Mars/Olympus", "quota 5/month from 32", "quota 5/day from 2"),
)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("100/minute", SlidingWindow(100, 60)),
        ("1_000 / 90s", SlidingWindow(1000, 90)),
        ("5/250ms", SlidingWindow(5, 0.25)),
        ("5/2 hours", SlidingWindow(5, 7200)),
        ("5/min", SlidingWindow(5, 60)),
        ("5 per minute", SlidingWindow(5, 60)),
        ("100/h", SlidingWindow(100, 3600)),
        ("10/s", SlidingWindow(10, 1)),
        ("5/sec", SlidingWindow(5, 1)),
        ("3/hr", SlidingWindow(3, 3600)),
        ("7 / d", SlidingWindow(7, 86400)),
        ("1000 per day", SlidingWindow(1000, 86400)),
        ("100 / 15 minutes", SlidingWindow(100, 900)),
        ("10 per 30 seconds", SlidingWindow(10, 30)),
        ("10 per 5m", SlidingWindow(10, 300)),
        ("burst 5, 10 per s", TokenBucket(5, 10, 1)),
        ("quota 10 per month from 15", Quota.monthly(10, anchor=15)),
        ("burst 50, 1200/minute", TokenBucket(50, 1200, 60)),
        ("burst 50,20/1s", TokenBucket(50, 20, 1)),
        ("quota 10000/day", Quota.daily(10_000)),
        ("quota 10_000/month from 15 Europe/Berlin", Quota.monthly(10_000, timezone="Europe/Berlin", anchor=15)),
        ("quota 7/week from 7", Quota.weekly(7, anchor=7)),
        ("quota 7/hour Asia/Kathmandu", Quota.hourly(7, timezone="Asia/Kathmandu")),
        ("shadow 100/minute", SlidingWindow(100, 60, shadow=True)),
        ("shadow burst 5, 1/second", TokenBucket(5, 1, shadow=True)),
        ("shadow quota 5/day", Quota.daily(5, shadow=True)),
    ],
)
def test_a_text_is_parsed_into_its_limit(text, limit):
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", BAD, ids=shown)
def test_an_invalid_text_is_an_error_that_names_it(text):
    with pytest.raises(InvalidPolicy) as caught:
        parse_limit(text)
    assert str(caught.value).startswith("limit ")
    assert repr(text)[:50] in str(caught.value)
    assert "such as" in str(caught.value) or "must" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", [None, 100, b"100/minute", SlidingWindow(1, 60)])
def test_a_value_that_is_not_text_is_an_error(text):
    with pytest.raises(InvalidPolicy, match=r"^limit must be text such as '100/minute', .+, not "):
        parse_limit(text)


@given(st.text())
def test_any_text_is_a_limit_or_an_error(text):
    with suppress(InvalidPolicy):
        assert parse_limit(text).capacity >= 1


@given(st.integers(1, 2**32 - 1), st.integers(1, 10**6), st.sampled_from(("ms", "s", "m")))
def test_a_text_keeps_its_capacity_and_duration(capacity, count, unit):
    seconds = count * {"ms": 1, "s": 1000, "m": 60_000}[unit]
    if seconds < 2**40 // 1000:
        assert parse_limit(f"{capacity}/{count}{unit}") == SlidingWindow(capacity, seconds / 1000)
