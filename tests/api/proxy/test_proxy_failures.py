"""The errors that the proxy sends, and when it repeats a request."""

import contextlib
import socket
import threading

import pytest

from limiter.api.proxy.proxy import Proxy
from support.proxy.proxying import proxying, serving
from support.proxy.raw_client import Client, Truncated, get, request
from support.proxy.raw_upstream import OK, Peer, Upstream, answering
from support.servers.redis_server import free_port
from support.waiting import eventually

OURS = [(b"RateLimit", b'"minute";r=1;t=2')]


def status_and_error(answer) -> tuple[int, bytes]:
    """The status and the Proxy-Status error of a response, after checking its problem document and headers."""
    problem = answer.problem
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == answer.status
    assert "127.0.0.1" not in problem["detail"]
    assert answer.values(b"ratelimit") == [OURS[0][1]]
    assert len(answer.values(b"date")) == 1
    return answer.status, answer.values(b"proxy-status")[0].removeprefix(b"limiter; error=")


def silent(peer: Peer) -> None:
    peer.wait_for_close()


def test_an_upstream_that_is_down_is_a_bad_gateway():
    with proxying(f"http://127.0.0.1:{free_port()}", headers=OURS) as port:
        assert status_and_error(get(port)) == (502, b"connection_refused")


def test_an_upstream_whose_name_does_not_resolve_is_a_bad_gateway():
    with proxying("http://nowhere.invalid", headers=OURS) as port:
        assert status_and_error(get(port)) == (502, b"dns_error")


def test_an_upstream_that_does_not_accept_connections_is_a_gateway_timeout():
    """The backlog is full, so the kernel drops new connections."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with proxying(url, headers=OURS, connect_timeout=0.2) as port:
            assert status_and_error(get(port)) == (504, b"connection_timeout")


def test_an_upstream_that_does_not_answer_is_a_gateway_timeout_and_is_disconnected():
    with Upstream(silent) as upstream, proxying(upstream.url, headers=OURS, deadline=0.2) as port:
        assert status_and_error(get(port)) == (504, b"http_response_timeout")
        assert upstream.peers[0].closed.wait(10)


def test_an_upstream_that_never_completes_its_head_is_a_gateway_timeout():
    """An incomplete head does not count as progress."""

    with Upstream(drip) as upstream, proxying(upstream.url, headers=OURS, deadline=0.3) as port:
        assert status_and_error(get(port)) == (504, b"http_response_timeout")


def drip(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not peer.closed.wait(0.02):
        peer.send(b"x")


def test_a_response_that_stalls_is_aborted():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        peer.wait_for_close()

    with Upstream(script) as upstream, proxying(upstream.url, deadline=0.3) as port, Client(port) as client:
        assert client.send(request()).head().status == 200
        assert client.chunk() == b"hello"
        with pytest.raises(Truncated):
            client.chunk()


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
def test_a_response_that_upstream_truncates_is_aborted(framing):
    body = b"hello" if b"Length" in framing else b"5\r\nhello\r\n"

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + body)

    with Upstream(script) as upstream, proxying(upstream.url) as port, Client(port) as client, pytest.raises(Truncated):
        client.send(request()).answer()


def test_an_upstream_that_closes_instead_of_answering_is_a_bad_gateway():
    def script(peer: Peer) -> None:
        peer.request()

    with Upstream(script) as upstream, proxying(upstream.url, headers=OURS) as port:
        assert status_and_error(get(port)) == (502, b"connection_terminated")
    assert len(upstream.peers) == 1


@pytest.mark.parametrize("head", [b"X: y\r\n" * 12_000, b"X: y\r\n" * 200_000, b"X: " + b"y" * 1_000_000])
def test_a_response_head_that_does_not_end_is_a_bad_gateway(head):
    with answering(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n") as upstream, proxying(upstream.url, headers=OURS) as port:
        assert status_and_error(get(port)) == (502, b"http_response_header_section_size")


@pytest.mark.parametrize("head", [b"X: y\r\n" * 12_000, b"X: y\r\n" * 200_000, b"X: " + b"y" * 1_000_000])
def test_a_request_head_that_does_not_end_is_refused(head):
    with answering() as upstream, proxying(upstream.url) as port, Client(port) as client:
        with contextlib.suppress(ConnectionError):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n")
        assert client.answer().status == 431
    assert upstream.peers == []


def test_trailers_that_do_not_end_are_refused():
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    with answering() as upstream, proxying(upstream.url) as port, Client(port) as client:
        with contextlib.suppress(ConnectionError):
            client.send(head + b"X: y\r\n" * 200_000)
        assert client.answer().status == 431
    assert OK not in upstream.received


def test_a_client_that_stops_in_the_middle_of_its_body_gets_408():
    with Upstream(silent) as upstream, proxying(upstream.url, headers=OURS, deadline=0.3) as port, Client(port) as client:
        client.send(request("/", "Content-Length: 10", method="POST") + b"hello")
        assert status_and_error(client.answer()) == (408, b"http_request_error")
        assert upstream.peers[0].closed.wait(10)


def closing_after(answers: int) -> Upstream:
    """An upstream whose first connection answers this many requests and closes without a response to the next one."""

    def script(peer: Peer) -> None:
        first = len(upstream.peers) == 1
        left = answers if first else 1000
        while left and peer.request():
            peer.send(OK)
            left -= 1
        if first:
            peer.recv()

    return (upstream := Upstream(script))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_an_idempotent_request_is_repeated_once_if_an_idle_connection_was_closed(method):
    with closing_after(1) as upstream, proxying(upstream.url) as port:
        assert get(port).body == b"ok"
        assert get(port, "/again", method=method).status == 200
        assert len(upstream.peers) == 2
    assert upstream.received.count(b" /again ") == 2


@pytest.mark.parametrize(
    "second",
    [request("/once", method="POST"), request("/once", method="PATCH"), request("/once", method="PUT", body=b"hello")],
)
def test_a_request_that_may_have_had_an_effect_is_not_repeated(second):
    with closing_after(1) as upstream, proxying(upstream.url, headers=OURS) as port, Client(port) as client:
        assert get(port).body == b"ok"
        assert status_and_error(client.send(second).answer()) == (502, b"connection_terminated")
    assert upstream.received.count(b" /once ") == 1


def test_a_request_is_not_repeated_after_its_response_has_begun():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()
        peer.send(b"HTTP/1.1 2")

    with Upstream(script) as upstream, proxying(upstream.url, headers=OURS) as port:
        assert get(port).body == b"ok"
        assert status_and_error(get(port)) == (502, b"connection_terminated")
    assert len(upstream.peers) == 1


def test_a_request_is_repeated_only_once():
    def script(peer: Peer) -> None:
        peer.request()
        if len(upstream.peers) == 1:
            peer.send(OK)
            peer.recv()

    upstream = Upstream(script)
    with upstream, proxying(upstream.url, headers=OURS) as port:
        assert get(port).body == b"ok"
        assert status_and_error(get(port)) == (502, b"connection_terminated")
    assert len(upstream.peers) == 2


def test_an_idle_connection_that_upstream_closed_is_not_used():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(OK)

    with Upstream(script) as upstream, proxying(upstream.url) as port:
        for number in range(1, 4):
            assert get(port, method="GET").body == b"ok"
            eventually(lambda n=number: len(upstream.peers) == n, "a connection of its own")


def test_concurrent_requests_do_not_mix():
    def script(peer: Peer) -> None:
        while seen := peer.request():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(seen.body), seen.body))

    def talk(number: int) -> None:
        with Client(port) as client:
            for turn in range(20):
                body = b"%d-%d" % (number, turn) * 1000
                echoes.append(client.send(request(method="POST", body=body)).answer().body == body)

    echoes = []
    with Upstream(script) as upstream, proxying(upstream.url) as port:
        threads = [threading.Thread(target=talk, args=[number]) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert echoes == [True] * 320
    assert len(upstream.peers) <= 16


def test_a_body_must_match_its_length_whatever_the_server():
    """A middleware shortens the body, so the server's own check does not see it."""
    with Upstream(silent) as upstream:
        proxy = Proxy(upstream.url, trusts=lambda _: False)

        async def app(scope, receive, send):
            async def shortened():
                message = await receive()
                return {**message, "body": message.get("body", b"")[:-1]}

            if scope["type"] == "http":
                await proxy(scope, shortened, send)

        with serving(app, lifespan="off") as port, Client(port) as client:
            assert client.send(request(method="POST", body=b"hello")).answer().status == 400
