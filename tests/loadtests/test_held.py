"""The check of the load test, from the times that a client sees."""

from limiter import parse_limit
from loadtests.held import Ledger, Request

THREE_A_MINUTE = parse_limit("3/minute")
BURST = parse_limit("burst 3, 60/minute")


def ledger(limit, *requests: tuple[float, float, int]) -> Ledger:
    return Ledger([limit], [Request(*request) for request in requests])


def test_a_full_window_is_not_a_breach():
    assert not list(ledger(THREE_A_MINUTE, *[(at, at + 1, 200) for at in (0, 10, 20, 60, 70, 80)]).breaches())


def test_one_admission_above_the_capacity_is_a_breach():
    found = list(ledger(THREE_A_MINUTE, *[(at, at + 0.5, 200) for at in (0, 10, 20, 59)]).breaches())

    assert found == ["4 admitted within 60 s, above the limit of 3"]


def test_a_request_that_may_have_been_decided_after_the_window_is_not_counted():
    assert not list(ledger(THREE_A_MINUTE, (0, 0.5, 200), (10, 11, 200), (20, 21, 200), (59, 60.5, 200)).breaches())


def test_denials_do_not_count_as_admitted():
    assert not list(ledger(THREE_A_MINUTE, *[(at, at + 1, 429) for at in range(10)]).breaches())


def test_a_bucket_admits_its_burst_and_its_refill():
    assert not list(ledger(BURST, *[(at, at, 200) for at in (0, 0, 0, 1, 2, 3)]).breaches())
    assert list(ledger(BURST, *[(at, at, 200) for at in (0, 0, 0, 1, 2, 2.9)]).breaches())


def test_a_denial_is_justified_only_if_the_capacity_may_be_exhausted():
    for limit in (THREE_A_MINUTE, BURST):
        denied = Request(0.4, 0.5, 429)
        assert not ledger(limit, (0, 0.1, 200)).justifies(denied)
        assert ledger(limit, *[(0, 0.1, 200)] * 3).justifies(denied)


def test_requests_in_flight_may_have_exhausted_the_capacity():
    assert ledger(THREE_A_MINUTE, (0, 0.1, 200), (0.2, float("inf"), 0), (0.2, float("inf"), 0)).justifies(Request(0.3, 0.4, 429))


def test_a_denial_after_the_window_has_passed_is_not_justified():
    full = [(0, 0.1, 200)] * 3
    assert ledger(THREE_A_MINUTE, *full).justifies(Request(60.5, 60.6, 429))
    assert not ledger(THREE_A_MINUTE, *full).justifies(Request(60.7, 60.8, 429))
    assert not ledger(BURST, *full).justifies(Request(1.2, 1.3, 429))
