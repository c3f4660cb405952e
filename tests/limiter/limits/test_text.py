"""Limits as text."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import InvalidPolicy, Quota, SlidingWindow, TokenBucket, parse_limit
from limiter.errors import shown

BAD = (
    *("", "\x00", "100", "100/", "/minute", "100/fortnite", "100/0s", "100 per minute", "100/minute; DROP", "100/minute\n100/hour"),
    *("0/minute", "-1/minute", "1.5/minute", "1e3/minute", "_/minute", "\u0661/minute", "9" * 5000 + "/minute"),
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
def test_a_text_means_a_limit(text, limit):
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", BAD, ids=shown)
def test_a_text_that_is_not_understood_is_refused_by_name(text):
    with pytest.raises(InvalidPolicy) as caught:
        parse_limit(text)
    assert str(caught.value).startswith(f"limit {repr(text)[:50]}")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", [None, 100, b"100/minute", SlidingWindow(1, 60)])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(InvalidPolicy, match="not str"):
        parse_limit(text)


@given(st.text())
def test_any_text_is_understood_or_refused(text):
    with suppress(InvalidPolicy):
        assert parse_limit(text).capacity >= 1


@given(st.integers(1, 2**32 - 1), st.integers(1, 10**6), st.sampled_from(("ms", "s", "m")))
def test_numbers_and_lengths_come_through(capacity, count, unit):
    seconds = count * {"ms": 1, "s": 1000, "m": 60_000}[unit]
    if seconds < 2**40 // 1000:
        assert parse_limit(f"{capacity}/{count}{unit}") == SlidingWindow(capacity, seconds / 1000)
