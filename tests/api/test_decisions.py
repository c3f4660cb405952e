"""The decision API."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.servers.sidecar import ask, sidecar

JSON = {"Content-Type": "application/json"}


def test_take_returns_the_state_of_each_limit(shared, prefix):
    decision = shared.decide("take", policy="standard", subject=prefix, cost=2).json()
    assert (decision["allowed"], decision["retry_after"], decision["binding"], decision["degraded"]) == (True, 0.0, "minute", None)
    minute, hour = decision["limits"]
    assert (minute["capacity"], minute["remaining"], hour["remaining"]) == (5, 3, 998)
    assert decision["headers"]["X-RateLimit-Remaining"] == "3"


def test_a_denial_is_data(shared, prefix):
    shared.decide("take", policy="standard", subject=prefix, cost=5)
    reply = shared.decide("take", policy="standard", subject=prefix)
    assert reply.status == 200
    assert reply.json()["allowed"] is False
    assert 59 < reply.json()["retry_after"] <= 60
    assert reply.json()["headers"]["Retry-After"] == "60"


def test_peek_charges_nothing_and_refund_gives_back(shared, prefix):
    taken = shared.decide("take", policy="standard", subject=prefix, cost=4).json()
    assert shared.decide("peek", policy="standard", subject=prefix).json()["limits"][0]["remaining"] == 1
    assert shared.decide("refund", policy="standard", subject=prefix, cost=3, at=taken["at"]).json()["limits"][0]["remaining"] == 4
    assert shared.decide("peek", policy="standard", subject=prefix, cost=0).json()["limits"][0]["remaining"] == 4


def test_a_refund_gives_back_what_was_taken_at_its_time_and_nothing_else(shared, prefix):
    """Also of several charges, and of several decisions."""
    charges = [{"policy": "bulk", "subject": f"{prefix}-a", "cost": 7}, {"policy": "standard", "subject": f"{prefix}-b", "cost": 2}]
    taken = shared.decide("take", charges=charges, account=prefix).json()
    missed = shared.decide("refund", charges=charges, account=prefix, at=taken["at"] - 3000).json()
    assert [limit["remaining"] for limit in missed["limits"][1:]] == [limit["remaining"] for limit in taken["limits"][1:]]
    one = {"charges": charges, "account": prefix, "at": taken["at"]}
    other = {"policy": "standard", "subject": f"{prefix}-c", "at": 1.5}
    first, second = shared.decide("refund", requests=[one, other]).json()["decisions"]
    assert [limit["remaining"] for limit in first["limits"]] == [limit["capacity"] for limit in first["limits"]]
    assert second["limits"][0]["remaining"] == 5


@pytest.mark.parametrize("at", [None, "now", -1, True, 1_800_014_400_000_000])
def test_a_refund_needs_the_time_of_the_take(shared, at):
    body = {"policy": "standard", "subject": "a"} | ({} if at is None else {"at": at})
    reply = ask(shared.front, "/v1/refund", "POST", JSON, json.dumps(body))
    assert (reply.status, reply.json()["detail"].partition(" ")[0].rstrip(":")) == (400, "at")
    assert ask(shared.front, "/v1/take", "POST", JSON, json.dumps(body | {"at": 1})).status == 400


def test_several_charges_are_all_made_or_none_is(shared, prefix):
    charges = [{"policy": "bulk", "subject": f"{prefix}-a"}, {"policy": "standard", "subject": f"{prefix}-b", "cost": 6}]
    decision = shared.decide("take", charges=charges, account=prefix).json()
    assert decision["allowed"] is False
    assert decision["limits"][0]["remaining"] == 1000


def test_each_request_of_a_batch_gets_its_own_decision(shared, prefix):
    one = {"policy": "standard", "subject": prefix, "cost": 3}
    together = {"charges": [{"policy": "standard", "subject": f"{prefix}-2"}], "account": prefix}
    decision = shared.decide("take", requests=[one, one, together]).json()
    assert [each["allowed"] for each in decision["decisions"]] == [True, False, True]


def test_the_counts_are_shared_with_authorize(shared, key):
    shared.ask(key=key)
    name = key.removesuffix("-secret")
    assert shared.decide("peek", policy="standard", subject=name, account=name, cost=0).json()["limits"][0]["remaining"] == 4


@pytest.mark.parametrize(
    ("body", "status", "named"),
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
def test_the_problem_names_the_wrong_value(shared, body, status, named):
    reply = ask(shared.front, "/v1/take", "POST", JSON, json.dumps(body))
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json")
    assert named in reply.json()["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"policy": NaN}', b"[" * 100_000, b'{"policy": "standard", "subject": "\\ud800"}', b"9" * 5000]
)
def test_a_body_that_is_not_json_gets_400(shared, body):
    assert ask(shared.front, "/v1/take", "POST", JSON, body).status == 400


def test_a_body_that_is_too_large_gets_413(shared):
    assert ask(shared.front, "/v1/take", "POST", JSON, b" " * (1024 * 1024 + 1)).status == 413


def test_other_content_types_get_415(shared):
    reply = ask(shared.front, "/v1/take", "POST", {"Content-Type": "text/plain"}, b"{}")
    assert (reply.status, reply.headers["Accept"]) == (415, "application/json")


def test_other_methods_get_405(shared):
    reply = ask(shared.front, "/v1/take")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


def take_once(sidecar, key, verb="take", **body):
    """A call of `/v1/take` with these Idempotency-Key headers."""
    keys = [key] if isinstance(key, str) else key
    return raw_call(sidecar.port, [f"Idempotency-Key: {each}" for each in keys], json.dumps(body), verb)


def test_a_take_that_is_repeated_with_its_idempotency_key_charges_once(shared, prefix):
    first = take_once(shared, prefix, policy="standard", subject=prefix, cost=2)
    shared.decide("take", policy="standard", subject=prefix)
    assert take_once(shared, prefix, cost=2, subject=prefix, policy="standard") == first
    assert take_once(shared, f'"{prefix}"', policy="standard", subject=prefix, cost=2) == first
    assert first[1]["limits"][0]["remaining"] == 3
    assert shared.decide("peek", policy="standard", subject=prefix).json()["limits"][0]["remaining"] == 2


@pytest.fixture
def another(server, tmp_path):
    """A sidecar beside the shared one, with the same counts."""
    config = 'policies: { bulk: { limits: ["burst 1000, 1000/second"], failure: closed } }\nredis: { deadline: 5s }\n'
    with sidecar(tmp_path, config, redis=server.url) as running:
        yield running


def test_equal_takes_at_the_same_time_on_two_sidecars_charge_once(shared, another, prefix):
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(take_once, (shared, another)[n % 2], prefix, policy="bulk", subject=prefix, cost=7) for n in range(24)]
        answers = [call.result() for call in calls]
    assert answers == [answers[0]] * 24
    assert answers[0][1]["limits"][0]["remaining"] == 993


def test_a_refund_that_is_repeated_with_its_idempotency_key_gives_back_once(shared, prefix):
    """It may have the key of its take."""
    _, taken = take_once(shared, prefix, policy="standard", subject=prefix, cost=2)
    take_once(shared, f"{prefix}-2", policy="standard", subject=prefix, cost=2)
    for _ in range(2):
        _, refund = take_once(shared, prefix, "refund", policy="standard", subject=prefix, cost=2, at=taken["at"])
        assert refund["limits"][0]["remaining"] == 3


def test_an_idempotency_key_of_another_body_gets_422_and_charges_nothing(shared, prefix):
    take_once(shared, prefix, policy="standard", subject=prefix)
    status, problem = take_once(shared, prefix, policy="standard", subject=prefix, cost=2)
    assert (status, problem["reason"]) == (422, "idempotency-key-reused")
    assert shared.decide("peek", policy="standard", subject=prefix).json()["limits"][0]["remaining"] == 4


def test_a_peek_ignores_an_idempotency_key(shared, prefix):
    for cost in (1, 2):
        assert take_once(shared, prefix, "peek", policy="standard", subject=prefix, cost=cost)[0] == 200


@pytest.mark.parametrize("keys", ["", '""', '"', "a b", 'a"b', "\xe4", "x" * 256, ["a", "a"]])
def test_an_idempotency_key_that_is_not_valid_gets_400(shared, prefix, keys):
    assert take_once(shared, keys, policy="standard", subject=prefix)[0] == 400
    assert shared.decide("peek", policy="standard", subject=prefix).json()["limits"][0]["remaining"] == 5


def test_an_idempotency_key_is_not_for_a_body_with_several_requests(shared, prefix):
    status, problem = take_once(shared, prefix, requests=[{"policy": "standard", "subject": prefix}])
    assert (status, "send each of them" in problem["detail"]) == (400, True)


def raw_call(port, lines, body, verb="take"):
    """The status and the body of the response to a call with these header lines."""
    framing = ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close", "Host: localhost"]
    head = "\r\n".join([f"POST /v1/{verb} HTTP/1.1", *lines, *framing, "", ""])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode("latin-1") + body.encode())
        head, _, answer = connection.makefile("rb").read().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(answer)


def raw_status(port, *lines):
    """The status of a request to /v1/take with these header lines."""
    body = b'{"policy": "standard", "subject": "a"}'
    framing = ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
    head = ["POST /v1/take HTTP/1.1", *lines, *framing, "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join(head).encode("latin-1") + body)
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    "lines", [["203.0.113.7"], ["203.0.113.7", "127.0.0.1"], ["127.0.0.1, 203.0.113.7"], ["unknown"], ["127.0.0.1, _hidden"], ["127.0.0.1"]]
)
def test_callers_behind_a_proxy_get_403(shared, lines):
    """A caller can spend the limits of any subject. A gateway that exposes `/v1` by mistake must not give that to its clients."""
    assert raw_status(shared.port, "Host: localhost", *(f"X-Forwarded-For: {line}" for line in lines)) == 403


@pytest.mark.parametrize("line", ["Forwarded: for=203.0.113.7", "X-Real-IP: 203.0.113.7", "Via: 1.1 gateway", "X-Forwarded-Proto: https"])
def test_callers_behind_a_proxy_that_sends_other_headers_get_403(shared, line):
    assert raw_status(shared.port, "Host: localhost", line) == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "203.0.113.7"])
def test_a_web_page_that_rebinds_its_name_to_this_machine_gets_421(shared, host):
    assert raw_status(shared.port, f"Host: {host}") == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_a_web_page_that_calls_this_machine_gets_403(shared, origin):
    assert raw_status(shared.port, "Host: localhost", f"Origin: {origin}") == 403


def test_a_direct_caller_on_this_machine_is_answered(shared):
    assert raw_status(shared.port, f"Host: 127.0.0.1:{shared.port}") == 200


@pytest.mark.parametrize(("charges", "status"), [(8, 200), (9, 413)])
def test_the_work_of_a_body_is_bounded_by_its_limits(shared, prefix, charges, status):
    """`standard` has two limits: 500 requests with 8 charges each evaluate 8,000 of them."""
    together = {"charges": [{"policy": "standard", "subject": f"{prefix}-{n}", "cost": 0} for n in range(charges)], "account": prefix}
    reply = shared.decide("peek", requests=[together] * 500)
    assert reply.status == status
    if status == 413:
        assert reply.json()["detail"] == "The requests of a body must evaluate at most 8,192 limits in all: send fewer requests at a time."
