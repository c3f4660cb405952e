"""Lengths of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import InvalidPolicy
from limiter.errors import shown
from limiter.limits.durations import microseconds, name_of

BAD_NUMBERS = (0, -1, float("nan"), float("inf"), 1e305, 10**400, 10**5000, True, None, [])
BAD_TEXTS = (
    "",
    "s",
    "fortnite",
    "month",
    "minutes",
    "Minute",
    "0s",
    "-1s",
    "1.5s",
    "1 s ",
    "1y",
    "\u0663s",
    "9" * 5000 + "s",
    "1\n",
    b"1s",
)


@pytest.mark.parametrize("value", [60, 60.0, "minute", "60s", "60 s", "1m", "1 minute", "60 seconds", "60000ms", "min", "1 min", "60 secs"])
def test_a_minute_has_many_spellings(value):
    assert microseconds(value, "window") == 60_000_000


@pytest.mark.parametrize(
    ("value", "us"), [(0.5, 500_000), ("1ms", 1000), ("hour", 3_600_000_000), ("2d", 172_800_000_000), ("week", 604_800_000_000)]
)
def test_a_duration_is_exact_in_microseconds(value, us):
    assert microseconds(value, "window") == us


@pytest.mark.parametrize("value", [*BAD_NUMBERS, *BAD_TEXTS], ids=shown)
def test_an_invalid_duration_is_an_error_that_names_it(value):
    with pytest.raises(InvalidPolicy, match=r"^window must be a number of seconds above 0, or text such as .+, not ") as caught:
        microseconds(value, "window")
    assert len(str(caught.value)) < 250


@given(st.integers(1, 2**40))
def test_every_duration_has_a_different_name(us):
    numbers = {"us": 1, "ms": 1000, "s": 1_000_000}
    name = name_of(us)
    if name[0].isdigit():
        digits = name.rstrip("mus")
        assert int(digits) * numbers[name.removeprefix(digits)] == us
    else:
        assert microseconds(name, "window") == us


@given(st.integers(1, 10**15))
def test_microseconds_survive_a_conversion_to_seconds(us):
    assert microseconds(us / 1_000_000, "window") == us
