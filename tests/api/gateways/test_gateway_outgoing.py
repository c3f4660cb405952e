"""`cors` and `caller_headers` through each gateway of examples/gateways: what browsers can read, and what the API learns of its caller."""

import pytest

from support.servers.gateways import PAGE, SECRET

ASKED = "Access-Control-Request-Method: PUT"
READABLE = {
    b"access-control-allow-origin": [PAGE.encode()],
    b"access-control-allow-credentials": [b"true"],
    b"vary": [b"Origin"],
}
FIELDS = ("account", "key", "tier", "signature")
# Each header in the spellings that a server may read as the same name.
FORGED = [f"X{a}Limiter{b}{field}: forged" for field in FIELDS for a, b in ("--", "__", "-_", "_-", "..")]


def test_a_preflight_of_an_allowed_origin_reaches_the_api(guarded):
    reached = guarded.api.requests
    answer = guarded.ask("/files", f"Origin: {PAGE}", ASKED, method="OPTIONS")
    assert (answer.status, answer.body, guarded.api.requests) == (200, b"OPTIONS /files", reached + 1)
    # The response is the API's.
    assert answer.values(b"access-control-allow-origin") == []


@pytest.mark.parametrize(
    "lines", [(), (f"Origin: {PAGE}",), (ASKED,), ("Origin: https://evil.example", ASKED), (f"Origin: {PAGE}", f"Origin: {PAGE}", ASKED)]
)
def test_every_other_options_request_needs_a_key(guarded, lines):
    reached = guarded.api.requests
    answer = guarded.ask("/files", *lines, method="OPTIONS")
    assert (answer.status, guarded.api.requests) == (401, reached)


def test_an_options_request_with_a_key_is_charged_to_it(guarded, key):
    assert guarded.ask("/files", f"Origin: {PAGE}", ASKED, method="OPTIONS", key=key).status == 200
    assert guarded.remaining(key) == 1


def test_a_page_of_an_allowed_origin_can_read_denials(guarded, key):
    for _ in range(3):
        guarded.ask("/files", key=key)
    limited = guarded.ask("/files", f"Origin: {PAGE}", key=key)
    refused = guarded.ask("/files", f"Origin: {PAGE}", key="nonsense")
    assert [(answer.status, answer.problem["status"]) for answer in (limited, refused)] == [(429, 429), (401, 401)]
    for answer in (limited, refused):
        assert {name: answer.values(name) for name in READABLE} == READABLE
        (exposed,) = answer.values(b"access-control-expose-headers")
        assert b"X-RateLimit-Remaining" in exposed


def test_other_pages_cannot_read_denials(guarded):
    answer = guarded.ask("/files", "Origin: https://evil.example")
    assert (answer.status, answer.values(b"access-control-allow-origin"), answer.values(b"vary")) == (401, [], [b"Origin"])


def callers(guarded):
    """What the API received under a name that it may read as one of `caller_headers`."""
    found = [(name.lower(), value) for name, value in guarded.api.received if "limiter" in name.lower()]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_the_api_learns_the_caller_and_nothing_that_the_client_forged(guarded, key, comes_from_limiter):
    for lines in ((), FORGED, FORGED * 2):
        answer = guarded.ask("/files/a%20b?x=1", *lines, method="PUT", key=key)
        found = callers(guarded)
        assert (answer.status, answer.body) == (200, b"PUT /files/a%20b?x=1")
        assert found.keys() == {f"x-limiter-{field}" for field in FIELDS}
        assert [found[f"x-limiter-{field}"] for field in FIELDS[:3]] == [key, key, "small"]
        assert comes_from_limiter(SECRET, "PUT", "/files/a%20b", found)
        # They are for the API.
        assert [name for name, _ in answer.headers if name.startswith(b"x-limiter")] == []


def test_the_api_learns_that_nobody_is_known(guarded, comes_from_limiter):
    guarded.ask("/health", *FORGED)
    found = callers(guarded)
    assert {found.get(f"x-limiter-{field}", "") for field in FIELDS[:3]} == {""}
    assert comes_from_limiter(SECRET, "GET", "/health", found)


def test_a_client_cannot_let_the_gateway_drop_the_caller(guarded, key, comes_from_limiter):
    """A proxy removes the headers that `Connection` lists."""
    reached = guarded.api.requests
    answer = guarded.ask("/files", "Connection: " + ", ".join(f"X-Limiter-{field}" for field in FIELDS), key=key)
    if answer.status == 200:
        assert comes_from_limiter(SECRET, "GET", "/files", callers(guarded))
    else:
        assert (answer.status, guarded.api.requests) == (400, reached)


def test_a_client_states_no_caller_if_the_sidecar_names_none(guarded, key):
    with guarded.relay.answering(lambda answer: answer.replace(b"x-limiter-", b"x-another-")):
        assert guarded.ask("/files", *FORGED, key=key).status == 200
    assert "forged" not in callers(guarded).values()


def test_a_client_states_no_caller_while_the_sidecar_does_not_answer(guarded, opened):
    with guarded.relay.stopped():
        assert guarded.ask("/files", *FORGED, port=opened).status == 200
    assert callers(guarded) == {}
