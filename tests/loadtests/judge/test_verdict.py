"""The verdict: what fails a test, and the sentence that says why."""

import pytest
from judge.ledger import Ledger, Ledgers
from judge.requests import Request
from judge.verdict import Thresholds, judged

from limiter import parse_limit

LIMIT = parse_limit("3/minute")
FULL = [(at, at + 0.1, 200) for at in (0, 1, 2)]
HELD = [*FULL, (3, 3.1, 429)]


def verdict(requests, thresholds=None, **given):
    key = Ledger("key 1", [LIMIT], [Request(*request) for request in requests])
    return judged([Ledgers(key)], thresholds or Thresholds(), 0.0, **given)


def test_limits_that_were_reached_and_held_pass():
    found = verdict(HELD)
    assert found.passed
    assert found.sentence == "PASS: the limits were held. 3 requests of 1 key were admitted, 1 denied."


@pytest.mark.parametrize(
    ("requests", "thresholds", "sentence"),
    [
        ([*HELD, (4, 4.1, 200)], {}, "FAIL: key 1: 4 admitted within 60 s, above the limit of 3."),
        (
            [*FULL[:2], (3, 3.1, 429)],
            {},
            "FAIL: key 1: 1 denial was not owed, because no limit was used up; the first after 3.0 s.",
        ),
        ([*HELD, (4, 4.1, 500)], {}, "FAIL: 1 request failed (status 500), and 0 may."),
        ([*HELD, (4, 4.1, 0), (5, 5.1, 503)], {"max_failures": 1}, "FAIL: 2 requests failed (no response, status 503), and 1 may."),
        (HELD, {"max_p99": 50}, "FAIL: 99 % of the responses took up to 100 ms, and 50 ms are allowed."),
        (FULL, {}, "FAIL: inconclusive, because nothing was denied: use a longer --run-time, or lower limits, so that a limit is reached."),
        ([(0, 0.1, 401)], {"max_failures": 1}, "FAIL: inconclusive, because nothing was admitted: check the host, the path and the keys."),
    ],
)
def test_a_failure_says_why(requests, thresholds, sentence):
    found = verdict(requests, Thresholds(**thresholds))
    assert found.sentence == sentence
    assert not found.passed


@pytest.mark.parametrize(
    ("requests", "thresholds"),
    [
        ([*HELD, (4, 4.1, 500)], {"max_failures": 1}),
        (HELD, {"max_p99": 150}),
        (FULL, {"must_deny": False}),
        ([*FULL[:2], (3, 3.1, 429)], {"others_use_keys": True}),
        # In flight at the end.
        ([*HELD, (4, float("inf"), 0)], {}),
    ],
)
def test_what_is_allowed_does_not_fail(requests, thresholds):
    assert verdict(requests, Thresholds(**thresholds)).passed


def test_a_false_header_fails():
    key = Ledger("key 1", [LIMIT], [Request(*times, remaining=(left,)) for times, left in zip(HELD, (2, 1, 1, 0), strict=True)])
    assert judged([Ledgers(key)], Thresholds(), 0.0).sentence == (
        "FAIL: key 1: wrong header after 2.0 s: 1 of 3 were stated to remain, when at most 0 can have remained."
    )


def test_records_that_cannot_be_trusted_fail():
    assert verdict(HELD, mistrusted=["worker 1 is gone"]).sentence == "FAIL: inconclusive, because worker 1 is gone."


def test_further_problems_are_counted():
    assert verdict([*FULL, (4, 4.1, 200), (5, 5.1, 500)]).sentence.endswith("above the limit of 3 (2 more problems in the report).")
