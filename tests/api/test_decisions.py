"""The decision API."""

import json

import pytest

from support.sidecar import ask

JSON = {"Content-Type": "application/json"}


def test_take_says_how_each_limit_stands(shared, prefix):
    told = shared.decide("take", policy="standard", subject=prefix, cost=2).json()
    assert (told["allowed"], told["retry_after"], told["binding"], told["degraded"]) == (True, 0.0, "minute", None)
    minute, hour = told["limits"]
    assert (minute["capacity"], minute["remaining"], hour["remaining"]) == (5, 3, 998)
    assert told["headers"]["X-RateLimit-Remaining"] == "3"


def test_a_denial_is_data(shared, prefix):
    shared.decide("take", policy="standard", subject=prefix, cost=5)
    reply = shared.decide("take", policy="standard", subject=prefix)
    assert reply.status == 200
    assert reply.json()["allowed"] is False
    assert 59 < reply.json()["retry_after"] <= 60
    assert reply.json()["headers"]["Retry-After"] == "60"


def test_peek_charges_nothing_and_refund_gives_back(shared, prefix):
    shared.decide("take", policy="standard", subject=prefix, cost=4)
    assert shared.decide("peek", policy="standard", subject=prefix).json()["limits"][0]["remaining"] == 1
    assert shared.decide("refund", policy="standard", subject=prefix, cost=3).json()["limits"][0]["remaining"] == 4
    assert shared.decide("peek", policy="standard", subject=prefix, cost=0).json()["limits"][0]["remaining"] == 4


def test_several_charges_are_made_together_or_not_at_all(shared, prefix):
    charges = [{"policy": "bulk", "subject": f"{prefix}-a"}, {"policy": "standard", "subject": f"{prefix}-b", "cost": 6}]
    told = shared.decide("take", charges=charges, account=prefix).json()
    assert told["allowed"] is False
    assert told["limits"][0]["remaining"] == 1000


def test_many_requests_have_a_decision_each(shared, prefix):
    one = {"policy": "standard", "subject": prefix, "cost": 3}
    together = {"charges": [{"policy": "standard", "subject": f"{prefix}-2"}], "account": prefix}
    told = shared.decide("take", requests=[one, one, together]).json()
    assert [each["allowed"] for each in told["decisions"]] == [True, False, True]


def test_the_counts_are_those_of_authorize(shared, key):
    shared.ask(key=key)
    name = key.removesuffix("-secret")
    assert shared.decide("peek", policy="standard", subject=name, account=name, cost=0).json()["limits"][0]["remaining"] == 4


@pytest.mark.parametrize(
    ("asked", "status", "named"),
    [
        ({}, 400, "policy"),
        ({"policy": "standard"}, 400, "subject"),
        ({"policy": "standard", "subject": "a b"}, 400, "'a b'"),
        ({"policy": "standard", "subject": "a", "cost": -1}, 400, "cost (-1)"),
        ({"policy": "standard", "subject": "a", "cost": 1.5}, 400, "cost (1.5)"),
        ({"policy": "standard", "subject": "a", "cost": True}, 400, "cost (True)"),
        ({"policy": "standard", "subject": "a", "price": 1}, 400, "price"),
        ({"policy": "standrad", "subject": "a"}, 404, "'standrad'"),
        ({"charges": []}, 400, "charges"),
        ({"charges": [{"policy": "standard", "subject": "a"}] * 2}, 400, "charges of one decision must differ in policy or subject"),
        ({"charges": [{"policy": "standard", "subject": "a"}, {"policy": "bulk", "subject": "b"}]}, 400, "account"),
        ({"requests": [{"policy": "standard", "subject": "a"}, {"policy": "nope", "subject": "a"}]}, 404, "requests[1]"),
        ([], 400, "an array"),
        ("text", 400, "a string"),
        (None, 400, "null"),
        (7, 400, "a number"),
    ],
)
def test_bad_input_is_named(shared, asked, status, named):
    reply = ask(shared.front, "/v1/take", "POST", JSON, json.dumps(asked))
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json")
    assert named in reply.json()["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"policy": NaN}', b"[" * 100_000, b'{"policy": "standard", "subject": "\\ud800"}', b"9" * 5000]
)
def test_what_is_no_json_is_400(shared, body):
    assert ask(shared.front, "/v1/take", "POST", JSON, body).status == 400


def test_a_body_too_large_is_413(shared):
    assert ask(shared.front, "/v1/take", "POST", JSON, b" " * (1024 * 1024 + 1)).status == 413


def test_other_content_is_415(shared):
    reply = ask(shared.front, "/v1/take", "POST", {"Content-Type": "text/plain"}, b"{}")
    assert (reply.status, reply.headers["Accept"]) == (415, "application/json")


def test_other_methods_are_405(shared):
    reply = ask(shared.front, "/v1/take")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


def test_nobody_comes_in_through_a_proxy(shared):
    """Who may call can spend anybody's limits, so a gateway that passes `/v1` on by mistake opens nothing."""
    reply = ask(shared.front, "/v1/take", "POST", {**JSON, "X-Forwarded-For": "203.0.113.7"}, b'{"policy": "standard", "subject": "a"}')
    assert reply.status == 403
