"""The errors that the proxy sends, and when it repeats a request."""

import contextlib
import socket
import threading

import pytest
from structlog.testing import capture_logs

from limiter.api.proxy.proxy import Proxy
from limiter.api.rules import UpstreamTimeouts
from support.proxy.proxying import proxying, serving
from support.proxy.raw_client import Client, Truncated, get, request
from support.proxy.raw_upstream import OK, Peer, Upstream, answering
from support.servers.fronts import fronts
from support.servers.redis_server import free_port
from support.waiting import eventually

OPEN = "policies: { standard: { limits: [1000/minute] } }\nidentify: { anonymous: standard }\n"
OURS = [(b"RateLimit", b'"minute";r=1;t=2')]


def status_and_error(answer) -> tuple[int, bytes]:
    """The status and the Proxy-Status error of a response, after checking its problem document and headers."""
    problem = answer.problem
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == answer.status
    assert "127.0.0.1" not in problem["detail"]
    assert not answer.values(b"retry-after")
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
        with proxying(url, headers=OURS, timeouts=lambda: UpstreamTimeouts(connect=0.2)) as port:
            assert status_and_error(get(port)) == (504, b"connection_timeout")


def test_an_upstream_that_does_not_answer_is_a_gateway_timeout_and_is_disconnected():
    with Upstream(silent) as upstream, proxying(upstream.url, headers=OURS, timeouts=lambda: UpstreamTimeouts(head=0.2)) as port:
        assert status_and_error(get(port)) == (504, b"http_response_timeout")
        assert upstream.peers[0].closed.wait(10)


def test_an_upstream_that_never_completes_its_head_is_a_gateway_timeout():
    """An incomplete head does not count as progress."""

    with Upstream(drip) as upstream, proxying(upstream.url, headers=OURS, timeouts=lambda: UpstreamTimeouts(head=0.3)) as port:
        assert status_and_error(get(port)) == (504, b"http_response_timeout")


def drip(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not peer.closed.wait(0.02):
        peer.send(b"x")


def test_changed_timeouts_apply_to_the_next_request_on_the_same_connection():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.wait_for_close()

    in_force = UpstreamTimeouts()
    with Upstream(script) as upstream, proxying(upstream.url, headers=OURS, timeouts=lambda: in_force) as port:
        assert get(port).status == 200
        in_force = UpstreamTimeouts(head=0.2)
        assert status_and_error(get(port)) == (504, b"http_response_timeout")
        assert len(upstream.peers) == 1


def test_a_response_that_stalls_is_aborted():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        peer.wait_for_close()

    timeouts = UpstreamTimeouts(head=60, body=0.3)
    with Upstream(script) as upstream, proxying(upstream.url, timeouts=lambda: timeouts) as port, Client(port) as client:
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


def test_a_client_that_stops_in_the_middle_of_its_body_gets_408_from_the_listener_and_not_504(server, prefix):
    """Takes two to three seconds of real time: the shortest timeout, and the listener looks once a second."""
    config = f"{OPEN}redis: {{ prefix: {prefix}, deadline: 10s }}\nconnections: {{ body: 1s }}\nupstream: {{ head: 1s }}\n"
    with Upstream(silent) as upstream, fronts(server.url, front=(config, upstream.url)) as (port,), Client(port) as client:
        client.send(request("/", "Content-Length: 10", method="POST") + b"hello")
        assert client.answer().status == 408
        assert upstream.peers[0].closed.wait(10)


def test_a_pause_of_the_client_does_not_count_as_silence_of_the_upstream():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(OK)

    timeouts = UpstreamTimeouts(head=0.2)
    with Upstream(script) as upstream, proxying(upstream.url, timeouts=lambda: timeouts) as port, Client(port) as client:
        client.send(request("/", "Content-Length: 10", method="POST") + b"hello")
        assert eventually(lambda: upstream.peers, "the connection")
        assert not upstream.peers[0].closed.wait(1)  # five times the timeout
        assert client.send(b"world").answer().status == 200


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


def test_failures_of_the_upstream_are_logged_together():
    """Takes a second of real time."""
    with capture_logs() as lines, proxying(f"http://127.0.0.1:{free_port()}") as port:
        assert [get(port).status for _ in range(5)] == [502] * 5
        (line, *_) = eventually(lambda: [line for line in lines if line["event"] == "the upstream fails"], "the line")
    assert (line["error"], line["last"]) == ("connection_refused", "The upstream refused the connection.")
    assert line["requests"] > 1
