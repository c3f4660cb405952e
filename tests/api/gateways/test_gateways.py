"""What works behind each gateway of examples/gateways. The marks are the columns of the table in docs/gateways.md."""

import contextlib
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.proxy.raw_client import Truncated
from support.proxy.raw_upstream import PATIENCE
from support.servers.relay import cut, lost
from support.waiting import eventually

# Traefik answers by itself while the sidecar does not.
OWN_ANSWERS = {"traefik": {502, 504}}
NUMBERS = {"ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}
WEBSOCKET = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
]


def numbers(answer):
    return {name.decode(): value.decode() for name, value in answer.headers if b"ratelimit" in name}


@pytest.mark.works("numbers")
def test_the_numbers_of_allowed_and_denied_requests_arrive_and_replace_those_of_the_api(guarded, key):
    allowed = [guarded.ask("/files?x=1", key=key) for _ in range(3)]
    denied = guarded.ask("/files", key=key)
    assert [(answer.status, answer.body) for answer in allowed] == [(200, b"GET /files?x=1")] * 3
    assert [numbers(answer)["x-ratelimit-remaining"] for answer in (*allowed, denied)] == ["2", "1", "0", "0"]
    for answer in (*allowed, denied):
        assert len(answer.values(b"ratelimit")) == len(answer.values(b"x-ratelimit-remaining")) == 1
        assert numbers(answer)["ratelimit-policy"] == '"minute";q=3;w=60'
        assert numbers(answer)["x-ratelimit-limit"] == "3"
        assert set(numbers(answer)) == {
            "ratelimit-policy",
            "ratelimit",
            *(f"x-ratelimit-{each}" for each in ("limit", "remaining", "reset")),
        }


@pytest.mark.works("numbers")
def test_a_request_that_is_not_counted_has_no_numbers(guarded):
    answer = guarded.ask("/health")
    assert (answer.status, numbers(answer)) == (200, {})


@pytest.mark.works("bodies")
def test_a_denial_arrives_with_its_problem(guarded, key):
    for _ in range(3):
        guarded.ask("/files", key=key)
    denied = guarded.ask("/files", key=key)
    assert (denied.status, denied.problem["status"]) == (429, 429)
    assert denied.problem["type"].endswith("#quota-exceeded")
    assert denied.problem["violated-policies"] == ["minute"]
    assert int(denied.values(b"retry-after")[0]) >= 1
    assert denied.values(b"cache-control") == [b"no-store"]


@pytest.mark.works("bodies")
def test_a_refused_key_gets_401_with_its_problem(guarded):
    answer = guarded.ask("/files", key="nonsense")
    assert (answer.status, answer.problem["status"], answer.problem["reason"]) == (401, 401, "invalid-credential")
    assert answer.values(b"www-authenticate") == [b'Bearer realm="limiter", error="invalid_token"']


@pytest.mark.works("bodies")
def test_a_missing_scope_gets_403_with_its_problem(guarded, key):
    answer = guarded.ask("/convert/a", key=key)
    assert (answer.status, answer.problem["status"], answer.problem["reason"]) == (403, 403, "missing-scope")


@pytest.mark.works("bodies")
def test_a_policy_that_fails_closed_gets_503_with_its_problem(guarded, opened, key):
    """Also from a gateway that lets requests pass while the sidecar does not answer: here it does."""
    with guarded.redis.stopped():
        for port in (guarded.port, opened):
            answer = guarded.ask("/counted", key=key, port=port)
            assert (answer.status, answer.problem["degraded"]) == (503, "closed")
            assert answer.values(b"retry-after") == [b"1"]
    eventually(lambda: guarded.ask("/counted", key=key).status == 200, "the sidecar counts again")


@contextlib.contextmanager
def hung(guarded):
    guarded.sidecar.send(signal.SIGSTOP)
    try:
        yield
    finally:
        guarded.sidecar.send(signal.SIGCONT)


def stopped(guarded):
    return guarded.relay.stopped()


UPLOAD = b"x" * 100_000


def ask_together(guarded, port):
    """A request without a body and one with, at once, because each may wait for a time-out."""

    def ask(method, body):
        return guarded.ask("/files?x=1", method=method, body=body, port=port)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(ask, ("GET", "POST"), (b"", UPLOAD)))


@pytest.mark.works("fail-closed")
@pytest.mark.parametrize("failing", [stopped, hung])
def test_no_request_passes_while_the_sidecar_does_not_answer(guarded, failing):
    reached = guarded.api.requests
    with failing(guarded):
        answers = ask_together(guarded, guarded.port)
    assert guarded.api.requests == reached
    for answer in answers:
        if guarded.program in OWN_ANSWERS:
            assert answer.status in OWN_ANSWERS[guarded.program]
        else:
            assert (answer.status, answer.problem["status"]) == (503, 503)
            assert answer.values(b"retry-after") == [b"1"]
    assert guarded.ask("/health").status == 200


@pytest.mark.works("fail-open")
@pytest.mark.parametrize("failing", [stopped, hung])
def test_requests_pass_while_the_sidecar_does_not_answer_if_the_switch_is_on(guarded, opened, failing):
    with failing(guarded):
        answers = ask_together(guarded, opened)
    assert [answer.status for answer in answers] == [200, 200]
    assert [answer.body for answer in answers] == [b"GET /files?x=1", b"POST /files?x=1" + UPLOAD]
    assert guarded.ask("/files", port=opened).status == 401


LARGE = {
    "path": ("/files/" + "x" * 7_000, []),
    "query": ("/files?" + "x" * 15_000, []),
    "path and keys": ("/files/" + "x" * 6_000, ["X-API-Key: " + "x" * 6_000, "Authorization: Bearer " + "x" * 6_000]),
    "headers": ("/files", [f"X-Header-{n}: {'x' * 60}" for n in range(95)]),
    "repeated keys": ("/files", ["X-API-Key: x"] * 90),
    "odd path": ("/files/" + "x" * 7_000 + "%00", []),
    "large headers": ("/files", [f"X-Header-{n}: {'x' * 7_500}" for n in range(3)]),
    "many large headers": ("/files", [f"X-Header-{n}: {'x' * 7_500}" for n in range(95)]),
    "larger headers": ("/files", [f"X-Header-{n}: {'x' * 75_000}" for n in range(12)]),
    "repeated large keys": ("/files", ["X-API-Key: " + "x" * 7_500] * 90),
    "large origin": ("/files", ["Origin: " + "x" * 15_000]),
    "repeated large origins": ("/files", ["Origin: " + "x" * 7_500] * 90),
    "repeated larger keys": ("/files", ["X-API-Key: " + "x" * 75_000] * 12),
    # Around the bounds of the gateways, so that some are just small enough for them, but not for their question.
    **{f"key of {size}": ("/files", ["X-API-Key: " + "x" * size]) for size in (*range(7_000, 8_300, 100), *range(14_900, 15_400, 40))},
}


def test_no_large_request_gets_past_a_gateway_that_fails_open(guarded, opened):
    """Whether the gateway, the sidecar or the question between them is too large: it is not the same as no answer."""
    reached = guarded.api.requests
    for what, (target, lines) in LARGE.items():
        with contextlib.suppress(ConnectionError, Truncated):
            guarded.ask(target, *lines, port=opened)
        assert guarded.api.requests == reached, what


@pytest.mark.works("WebSocket")
def test_a_websocket_is_charged_once_and_then_passed_on(guarded, large_key):
    with guarded.client() as client:
        assert client.send(guarded.request("/websocket", *WEBSOCKET, key=large_key)).head().status == 101
        for word in (b"hello", b"world"):
            client.send(b"\x81\x85\0\0\0\0" + word)
            assert client.read(7) == b"\x81\x05" + word
    assert guarded.remaining(large_key) == 8


@pytest.mark.works("WebSocket")
def test_a_denied_handshake_gets_429(guarded, key):
    for _ in range(3):
        guarded.ask("/files", key=key)
    denied = guarded.ask("/websocket", *WEBSOCKET, key=key)
    assert (denied.status, denied.problem["status"]) == (429, 429)


@pytest.mark.works("streaming")
def test_a_response_arrives_while_the_api_writes_it(guarded, large_key):
    guarded.api.go.clear()
    with guarded.client() as client:
        head = client.send(guarded.request("/stream", key=large_key)).head()
        assert numbers(head)["x-ratelimit-remaining"] == "9"
        assert client.chunk() == b"data: first\n\n"
        guarded.api.go.set()
        assert b"".join(iter(client.chunk, b"")) == b"data: second\n\n"


@pytest.mark.works("streaming")
@pytest.mark.parametrize("framing", ["Content-Length: 400000", "Transfer-Encoding: chunked"])
def test_an_upload_reaches_the_api_while_the_client_sends_it(guarded, large_key, framing):
    first, second = (_part(framing, 200_000, last=last) for last in (False, True))
    guarded.api.arrived.clear()
    with guarded.client() as client:
        client.send(guarded.request("/upload", framing, method="POST", key=large_key) + first)
        assert guarded.api.arrived.wait(PATIENCE)
        answer = client.send(second).answer()
    assert (answer.status, answer.body) == (200, b"400000")


@pytest.mark.works("numbers")
def test_an_upload_whose_client_waits_for_100_has_its_numbers(guarded, key):
    with guarded.client() as client:
        head = guarded.request("/upload", "Expect: 100-continue", "Content-Length: 5", method="POST", key=key)
        assert client.send(head).head().status == 100
        client.send(b"hello")
        # Caddy also passes the 100 of the API on.
        final = next(answer for answer in iter(client.head, None) if answer.status != 100)
        assert (final.status, final.values(b"x-ratelimit-remaining"), client.read(1)) == (200, [b"2"], b"5")


def _part(framing, size, *, last):
    part = b"x" * size
    if "chunked" in framing:
        part = b"%x\r\n%b\r\n" % (size, part) + (b"0\r\n\r\n" if last else b"")
    return part


@pytest.mark.works("charged once")
@pytest.mark.parametrize("answer", [lost, cut])
def test_a_request_is_charged_once_if_the_answer_of_the_sidecar_is_lost(guarded, large_key, answer):
    with guarded.client() as client:
        ask = guarded.request("/files", key=large_key)
        assert client.send(ask).answer().status == 200
        with guarded.relay.answering(answer):
            assert client.send(ask).answer().status >= 500
    assert guarded.remaining(large_key) == 7


@pytest.mark.works("charged once")
def test_a_request_is_charged_once_if_the_sidecar_hangs_for_longer_than_the_gateway_waits(guarded, large_key):
    with guarded.client() as client:
        ask = guarded.request("/files", key=large_key)
        assert client.send(ask).answer().status == 200
        with hung(guarded):
            assert client.send(ask).answer().status >= 500
    # The sidecar may still charge it, or see that the gateway has left.
    assert guarded.remaining(large_key) in (7, 8)


def test_the_gateway_uses_its_connections_to_the_sidecar_again(guarded):
    """Apache has one connection a thread."""
    opened = guarded.relay.connections
    with guarded.client() as client:
        for _ in range(90):
            assert client.send(guarded.request("/health")).answer().status == 200
    assert guarded.relay.connections - opened <= 45


def test_a_refused_upload_leaves_the_connection_in_order(guarded, key):
    """The gateway reads the rest of the upload, or closes the connection. It must not take the upload for a request."""
    smuggled = guarded.request("/health?smuggled")
    with guarded.client() as client:
        client.send(guarded.request("/convert/a", f"Content-Length: {len(smuggled)}", method="POST", key=key) + smuggled)
        assert client.answer().status == 403
        with contextlib.suppress(ConnectionError, Truncated):
            after = client.send(guarded.request("/files", key=key)).answer()
            assert (after.status, after.body) == (200, b"GET /files")
