"""The records of several workers, as the master puts them together."""

import math
import time

import pytest
from judge.requests import Request
from users.collected import Collected
from users.plan import Key, Limits
from users.recorder import Recorder, anchor, machine, packed, unpacked

from limiter import parse_limit

LIMITS = Limits([parse_limit("3/minute")])
KEYS = [Key("secret-1", "key 1", "account acme"), Key("secret-2", "key 2", "account acme")]


def records(*requests, key="key 1", **stated):
    """What a worker sends: on this machine, unless stated otherwise."""
    batch = packed(Request(*request, remaining=(math.nan,)) for request in requests)
    own = {"machine": machine(), "anchor": anchor(), "now": time.time(), "count": len(requests), "final": True}
    return {**own, "batches": [[key, "GET /", batch]], **stated}


def collected(*messages, limits=LIMITS, tolerance=0.1) -> Collected:
    found = Collected(limits, tolerance)
    for number, message in enumerate(messages):
        found.add(f"worker {number}", message)
    return found


def test_records_arrive_as_they_were_sent():
    request = Request(1.25, 2.5, 200, 3.0, 100.0, (7.0, math.nan))
    (read,) = unpacked(packed([request]), 2, "GET /", 1000.0, 0.0)
    assert (read.sent, read.received, read.status, read.retry_after, read.capacity) == (1001.25, 1002.5, 200, 3.0, 100.0)
    assert read.remaining == pytest.approx((7.0, math.nan), nan_ok=True)
    assert read.name == "GET /"


def test_only_all_workers_together_exceed_a_limit():
    one, two = records((0, 1, 200), (0, 1, 200)), records((2, 3, 200), (2, 3, 200))
    assert not list(collected(one).ledgers(KEYS)[0].key.breaches())
    assert list(collected(one, two).ledgers(KEYS)[0].key.breaches())


def test_the_keys_of_an_account_are_judged_together():
    limits = Limits([parse_limit("100/minute")], [parse_limit("3/minute")])
    batches = [
        [key, "GET /", packed(Request(at, at + 1, 200, remaining=(math.nan, math.nan)) for at in (0, 2))] for key in ("key 1", "key 2")
    ]
    first, second = collected(records(batches=batches, count=4), limits=limits).ledgers(KEYS)
    assert first.account is second.account
    assert not list(first.key.breaches())
    assert [str(breach) for breach in first.account.breaches()] == ["4 admitted within 60 s, above the limit of 3"]


def test_a_worker_that_kept_records_back_makes_the_test_inconclusive():
    assert not list(collected(records((0, 1, 200))).mistrusted())
    for lost in ({"count": 2}, {"final": False}):
        assert list(collected(records((0, 1, 200), **lost)).mistrusted()) == ["worker 0 ended without sending all of its records"]


def test_a_worker_that_never_answered_makes_the_test_inconclusive():
    found = collected(records((0, 1, 200)))
    found.expect("worker 1")
    assert not found.complete()
    assert list(found.mistrusted()) == ["worker 1 ended without sending all of its records"]


def test_a_worker_may_report_that_it_could_not_start():
    found = collected({"error": "--keys must be a file that this machine can read", "final": True})
    assert list(found.mistrusted()) == ["worker 0 reported: --keys must be a file that this machine can read"]


def test_times_of_another_machine_are_wrong_by_up_to_the_tolerance():
    """Without the tolerance, these 4 requests within 59.9 seconds would be a breach."""
    requests = [(0, 1, 200), (2, 3, 200), (4, 5, 200), (59.8, 59.9, 200)]
    assert list(collected(records(*requests)).ledgers(KEYS)[0].key.breaches())
    elsewhere = collected(records(*requests, machine="another"))
    assert not list(elsewhere.ledgers(KEYS)[0].key.breaches())
    assert not list(elsewhere.mistrusted())
    assert any("wrong by up to 0.1 s" in note for note in elsewhere.notes())
    assert elsewhere.ledgers(KEYS)[0].key.requests[0].seconds == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("off", "direction"), [(-3600, "behind"), (3600, "ahead")])
def test_a_clock_that_is_wrong_by_more_than_the_tolerance_makes_the_test_inconclusive(off, direction):
    (reason,) = collected(records((0, 1, 200), machine="another", now=time.time() + off)).mistrusted()
    assert f"worker 0 is about 3600.00 s {direction}: synchronize the clocks" in reason


def test_a_busy_load_generator_is_reported():
    assert not list(collected(records(cpu=0.5, late=0.01)).notes())
    for busy in ({"cpu": 0.97}, {"late": 0.4}):
        (note,) = collected(records(**busy)).notes()
        assert note.startswith("The load generator was a bottleneck: worker 0 ")


def test_a_request_in_flight_at_the_end_is_recorded_without_a_response():
    recorder = Recorder(1)
    recorder.end(recorder.begin("key 1", "GET /"), 200)
    recorder.begin("key 1", "GET /")
    assert not recorder.idle
    (ledgers,) = collected(recorder.close()).ledgers(KEYS)
    assert [(each.status, each.unanswered, each.failed) for each in ledgers.key.requests] == [(200, False, False), (0, True, False)]


def test_records_are_sent_once():
    recorder = Recorder(1)
    recorder.end(recorder.begin("key 1", "GET /"), 200)
    first, last = recorder.drain(), recorder.close()
    found = Collected(LIMITS, 0.1)
    found.add("worker 0", first)
    found.add("worker 0", last)
    assert len(found.ledgers(KEYS)[0].key.requests) == 1
    assert not list(found.mistrusted())
