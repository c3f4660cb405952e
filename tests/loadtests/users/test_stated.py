"""What the headers of several APIs state."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from users import stated

from limiter import parse_limit

LIMITS = [parse_limit(text) for text in ("100/minute", "1000/hour", "burst 50, 1200/minute")]
NONE = math.nan


@pytest.mark.parametrize(
    ("headers", "remaining"),
    [
        ({}, (NONE, NONE, NONE)),
        ({"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "7"}, (NONE, 7, NONE)),
        ({"X-RateLimit-Limit": "100, 100;w=60", "X-RateLimit-Remaining": "7"}, (7, NONE, NONE)),
        ({"RateLimit-Limit": "100", "RateLimit-Remaining": "7"}, (7, NONE, NONE)),
        ({"X-RateLimit-Limit": "99", "X-RateLimit-Remaining": "7"}, (NONE, NONE, NONE)),
        ({"X-RateLimit-Limit": "many", "X-RateLimit-Remaining": "-1"}, (NONE, NONE, NONE)),
        (
            {"RateLimit-Policy": '"minute";q=100;w=60, "hour";q=1000;w=3600', "RateLimit": '"minute";r=42;t=17, "hour";r=941;t=3120'},
            (42, 941, NONE),
        ),
        ({"RateLimit-Policy": '"a";q=50;w=3', "RateLimit": '"a";r=3'}, (NONE, NONE, 3)),
        ({"RateLimit-Policy": '"a";q=50;w=3', "RateLimit": '"b";r=3'}, (NONE, NONE, NONE)),
        ({"RateLimit-Policy": '"a";q=100;w=1', "RateLimit": '"a";r=3'}, (NONE, NONE, NONE)),
        ({"RateLimit": "limit=100, remaining=50, reset=5"}, (NONE, NONE, NONE)),
    ],
)
def test_a_limit_is_recognised_by_what_is_stated(headers, remaining):
    assert stated.remaining(headers, LIMITS) == pytest.approx(remaining, nan_ok=True)


def test_two_limits_of_one_capacity_are_not_confused():
    limits = [parse_limit("100/minute"), parse_limit("100/hour")]
    assert all(map(math.isnan, stated.remaining({"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "7"}, limits)))
    policies = {"RateLimit-Policy": '"a";q=100;w=60, "b";q=100;w=3600', "RateLimit": '"a";r=1;t=1, "b";r=2;t=2'}
    assert stated.remaining(policies, limits) == (1, 2)


def test_the_headers_of_the_library_are_understood(server, prefix):
    from limiter import Limiter, Policy  # noqa: PLC0415

    with Limiter(server.url, prefix=prefix, deadline=10) as limiter:
        headers = limiter.take(Policy("p", LIMITS), "key-1").headers()
        limiter.reset(Policy("p", LIMITS), "key-1")
    assert stated.remaining(headers, LIMITS) == (99, 999, 49)
    assert stated.stated_capacity(headers) == 50


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, NONE),
        ({"Retry-After": "18"}, 18),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "soon"}, NONE),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 40),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT", "Date": "Thu, 01 Jan 1970 00:00:55 GMT"}, 5),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, seconds):
    assert stated.retry_after(headers, 20) == pytest.approx(seconds, nan_ok=True)


NAMES = ["RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "Retry-After", "Date"]
PIECES = [
    "9" * 5000,
    '"a"',
    ";q=",
    ";w=60",
    ";r=",
    "100",
    ",",
    " ",
    "Thu, 01 Jan ",
    "0001",
    "9999 ",
    "23:59:59",
    " +9999",
    "-1",
    "1e9",
    "٣",
]


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(PIECES)).map("".join) | st.text()))
def test_no_header_of_a_server_stops_the_test(headers):
    stated.remaining(headers, LIMITS)
    assert math.isnan(stated.stated_capacity(headers)) or stated.stated_capacity(headers) < 1e15
    assert math.isnan(stated.retry_after(headers, 20)) or stated.retry_after(headers, 20) < 1e15
