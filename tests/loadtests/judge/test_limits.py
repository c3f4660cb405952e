"""Each kind of limit, judged from the times that a client sees."""

import pytest
from judge.ledger import Ledger, Ledgers
from judge.requests import Request

from limiter import parse_limit

THREE_A_MINUTE = parse_limit("3/minute")
BURST = parse_limit("burst 3, 60/minute")
DAILY = parse_limit("quota 3/day")


def ledger(limit, *requests, tolerance=0.0) -> Ledger:
    return Ledger("key 1", [limit], [Request(*request) for request in requests], tolerance)


def texts(found: Ledger) -> list[str]:
    return [str(breach) for breach in found.breaches()]


def test_a_full_window_is_not_a_breach():
    assert not texts(ledger(THREE_A_MINUTE, *[(at, at + 1, 200) for at in (0, 10, 20, 60, 70, 80)]))


def test_one_admission_above_the_capacity_is_a_breach():
    assert texts(ledger(THREE_A_MINUTE, *[(at, at + 0.5, 200) for at in (0, 10, 20, 59)])) == [
        "4 admitted within 60 s, above the limit of 3"
    ]


def test_the_window_may_start_anywhere():
    requests = [(at, at + 0.1, 200) for at in (0, 58, 59, 61, 62)]
    assert texts(ledger(THREE_A_MINUTE, *requests)) == ["4 admitted within 60 s, above the limit of 3"]


def test_a_request_that_may_have_been_decided_after_the_window_is_not_counted():
    assert not texts(ledger(THREE_A_MINUTE, (0, 0.5, 200), (10, 11, 200), (20, 21, 200), (59, 60.5, 200)))


def test_denials_and_failures_do_not_count_as_admitted():
    assert not texts(ledger(THREE_A_MINUTE, *[(at, at + 1, status) for at in range(10) for status in (429, 500, 0)]))


def test_a_bucket_admits_its_burst_and_its_refill():
    assert not texts(ledger(BURST, *[(at, at, 200) for at in (0, 0, 0, 1, 2, 3)]))
    assert texts(ledger(BURST, *[(at, at, 200) for at in (0, 0, 0, 1, 2, 2.9)])) == [
        "6 admitted within 2.900 s, above the limit of 3 and 1 a second"
    ]


def test_a_quota_holds_in_each_period():
    evening, morning = [(86_000 + at, 86_001 + at, 200) for at in range(3)], [(86_500 + at, 86_501 + at, 200) for at in range(3)]
    assert not texts(ledger(DAILY, *evening, *morning))
    assert texts(ledger(DAILY, *evening, *morning, (86_600, 86_601, 200))) == ["4 admitted within one day, above the quota of 3"]


def test_a_request_near_the_end_of_a_period_may_belong_to_either():
    """The clocks differ by up to a second: the fourth request of the day may have been the first of the next."""
    requests = [(86_000 + at, 86_001 + at, 200) for at in range(3)] + [(86_399.2, 86_399.3, 200)]
    assert texts(ledger(DAILY, *requests))
    assert not texts(ledger(DAILY, *requests, tolerance=1.0))


@pytest.mark.parametrize("limit", [THREE_A_MINUTE, BURST, DAILY], ids=str)
def test_a_denial_is_owed_only_if_the_capacity_may_be_exhausted(limit):
    denied = Request(0.4, 0.5, 429)
    assert not ledger(limit, (0, 0.1, 200)).may_deny(denied)
    assert ledger(limit, *[(0, 0.1, 200)] * 3).may_deny(denied)


@pytest.mark.parametrize("status", [0, 500])
def test_requests_without_a_valid_response_may_have_exhausted_the_capacity(status):
    answered, denied = [(0, 0.1, 200)], Request(0.3, 0.4, 429)
    assert ledger(THREE_A_MINUTE, *answered, *[(0.2, float("inf"), status)] * 2).may_deny(denied)


def test_requests_after_a_denial_do_not_justify_it():
    assert not ledger(THREE_A_MINUTE, *[(at, at + 0.1, 200) for at in (1, 2, 3)]).may_deny(Request(0.5, 0.6, 429))
    assert not ledger(BURST, *[(at, at + 0.1, 200) for at in (1, 1.1, 1.2)]).may_deny(Request(0.5, 0.6, 429))


def test_a_denial_after_the_window_has_passed_is_not_owed():
    full = [(0, 0.1, 200)] * 3
    assert ledger(THREE_A_MINUTE, *full).may_deny(Request(60.5, 60.6, 429))
    assert not ledger(THREE_A_MINUTE, *full).may_deny(Request(60.7, 60.8, 429))
    assert not ledger(BURST, *full).may_deny(Request(1.2, 1.3, 429))


def test_a_denial_may_be_owed_to_the_account():
    key = ledger(THREE_A_MINUTE, (2, 2.1, 429))
    account = ledger(THREE_A_MINUTE, *[(0, 0.1, 200)] * 3, (2, 2.1, 429))
    assert len(Ledgers(key).denials_not_owed()) == 1
    assert not Ledgers(key, account).denials_not_owed()


def stated(*requests, limit=THREE_A_MINUTE) -> Ledgers:
    return Ledgers(Ledger("key 1", [limit], [Request(*times, remaining=(left,)) for *times, left in requests]))


def test_more_stated_to_remain_than_can_is_a_false_header():
    assert not list(stated((0, 0.1, 200, 2), (1, 1.1, 200, 1)).false_remaining())
    found = list(stated((0, 0.1, 200, 2), (1, 1.1, 200, 2)).false_remaining())
    assert [text for _, text in found] == ["2 of 3 were stated to remain, when at most 1 can have remained"]


def test_requests_in_flight_may_be_decided_in_any_order():
    assert not list(stated((0, 1, 200, 1), (0, 1, 200, 2)).false_remaining())


def test_a_response_that_states_nothing_is_not_judged_by_its_headers():
    assert not list(stated((0, 0.1, 200, float("nan")), (1, 1.1, 200, float("nan"))).false_remaining())


def waited(*requests) -> list[str]:
    key = Ledger("key 1", [THREE_A_MINUTE], [Request(sent, received, status, after) for sent, received, status, after in requests])
    return [text for _, text in Ledgers(key).false_retry_after()]


NONE = float("nan")


def test_a_lone_client_that_waits_must_be_admitted():
    assert not waited((0, 0.1, 429, 5), (5.2, 5.3, 200, NONE))
    assert not waited((0, 0.1, 429, 5), (4.9, 5, 429, 1))
    assert waited((0, 0.1, 429, 5), (5.2, 5.3, 429, 1)) == ["Retry-After was 5 s, but after 5.1 s a lone client was denied again"]


def test_a_client_that_is_not_alone_may_be_denied_again():
    assert not waited((0, 0.1, 429, 5), (5.2, 5.3, 429, 1), (4, 5.25, 200, NONE))


def test_a_client_must_not_be_told_to_wait_too_long():
    assert not waited((0, 0.1, 429, 5), (4.1, 4.2, 200, NONE))
    assert waited((0, 0.1, 429, 5), (3, 3.1, 200, NONE)) == ["Retry-After was 5 s, but a request was admitted after 3.1 s"]


@pytest.mark.parametrize("limit", [THREE_A_MINUTE, BURST], ids=str)
def test_the_clock_of_the_server_may_run_slightly_faster(limit):
    """A window of its 60 seconds may be over after 59.98 of ours, and a unit refilled earlier."""
    times = [0, 1, 2, 59.98] if limit is THREE_A_MINUTE else [0, 0, 0, 0.9997]
    assert not texts(ledger(limit, *[(at, at, 200) for at in times]))
    assert texts(ledger(limit, *[(at, at, 200) for at in [*times[:3], times[3] * 0.999]]))
