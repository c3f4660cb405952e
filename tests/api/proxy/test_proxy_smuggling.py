"""Bytes that two readers could understand as different requests or responses do not pass the proxy."""

import contextlib
import threading

import pytest

from support.proxy.proxying import proxying
from support.proxy.raw_client import Client, get, request
from support.proxy.raw_upstream import OK, Peer, Upstream, answering

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: api.test\r\n\r\n"
POST = b"POST /front HTTP/1.1\r\nHost: api.test\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def upstream():
    with answering() as running:
        yield running


@pytest.fixture(scope="module")
def port(upstream):
    with proxying(upstream.url) as running:
        yield running


@pytest.mark.parametrize(
    "attack",
    {
        "length and coding": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        "coding and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + HIDDEN,
        "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 41\r\n\r\n" + HIDDEN,
        "equal lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi" + HIDDEN,
        "list of lengths": POST + b"Content-Length: 5,5\r\n\r\nhello" + HIDDEN,
        "signed length": POST + b"Content-Length: +5\r\n\r\nhello" + HIDDEN,
        "negative length": POST + b"Content-Length: -1\r\n\r\n" + HIDDEN,
        "hex length": POST + b"Content-Length: 0x5\r\n\r\nhello" + HIDDEN,
        "empty length": POST + b"Content-Length:\r\n\r\n" + HIDDEN,
        "endless length": POST + b"Content-Length: 99999999999999999999\r\n\r\n" + HIDDEN,
        "space before colon": POST + b"Content-Length : 41\r\n\r\n" + HIDDEN,
        "space before coding's colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        "folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        "folded header": POST + b"X-A: b\r\n Content-Length: 41\r\n\r\n" + HIDDEN,
        "header that starts with a space": POST + b" X-A: b\r\n\r\n" + HIDDEN,
        "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
        "identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + HIDDEN,
        "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        "quoted coding": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + HIDDEN,
        "vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        "coding in 1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n" + HIDDEN,
        "bare CR": POST + b"X-A: b\rContent-Length: 41\r\n\r\n" + HIDDEN,
        "bare LF": POST + b"X-A: b\nContent-Length: 41\r\n\r\n" + HIDDEN,
        "NUL": POST + b"X-A: b\x00c\r\n\r\n" + HIDDEN,
        "no colon": POST + b"Content-Length 41\r\n\r\n" + HIDDEN,
        "only LF": b"GET / HTTP/1.1\nHost: api.test\n\n" + HIDDEN,
        "hex chunk": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n" + HIDDEN,
        "signed chunk": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n" + HIDDEN,
        "padded chunk": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n" + HIDDEN,
        "endless chunk": CHUNKED + b"fffffffffffffffff3\r\nabc\r\n0\r\n\r\n" + HIDDEN,
        "negative chunk": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n" + HIDDEN,
        "chunk of no size": CHUNKED + b"\r\nabc\r\n0\r\n\r\n" + HIDDEN,
        "chunk with LF": CHUNKED + b"3\nabc\n0\n\n" + HIDDEN,
        "chunk longer than its size": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n" + HIDDEN,
        "LF in a chunk's extension": CHUNKED + b"3;a\nabc\r\n0\r\n\r\n" + HIDDEN,
        "length in the trailers": CHUNKED + b"0\r\nContent-Length: 41\r\n\r\n" + HIDDEN,
        "no host": b"GET / HTTP/1.1\r\n\r\n" + HIDDEN,
        "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + HIDDEN,
        "fragment": b"GET /a#/../b HTTP/1.1\r\nHost: api.test\r\n\r\n" + HIDDEN,
        "fragment after the query": b"GET /a?b#/../c HTTP/1.1\r\nHost: api.test\r\n\r\n" + HIDDEN,
        "target and host differ": b"GET http://other.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n" + HIDDEN,
    }.items(),
    ids=lambda attack: attack[0],
)
def test_an_ambiguous_request_is_refused_and_does_not_reach_upstream(attack, upstream, port):
    """The start of a body may be sent before the proxy sees the error. Then it closes the connection without another head."""
    before = len(upstream.received)
    with Client(port) as client:
        answer = client.send(attack[1]).answer()
        assert (answer.status, answer.problem["status"]) == (400, 400)
        assert client.at_end
    sent = upstream.received[before:]
    assert b"/hidden" not in sent
    assert sent.count(b" HTTP/1.1\r\n") <= (1 if attack[1].startswith(CHUNKED) else 0)
    assert get(port).body == b"ok"


@pytest.mark.parametrize(
    ("attack", "status"),
    [
        (POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 41\r\n\r\n" + HIDDEN, 501),
        (b"CONNECT api.test:80 HTTP/1.1\r\nHost: api.test:80\r\n\r\n" + HIDDEN, 501),
        (b"GET / HTTP/2.0\r\nHost: api.test\r\n\r\n" + HIDDEN, 505),
        (b"GET /\r\n\r\n" + HIDDEN, 505),
    ],
    ids=["upgrade with a body", "CONNECT", "HTTP/2.0", "HTTP/0.9"],
)
def test_an_unsupported_request_is_refused_and_does_not_reach_upstream(attack, status, upstream, port):
    before = len(upstream.received)
    with Client(port) as client:
        assert client.send(attack).answer().status == status
        assert client.at_end
    assert upstream.received[before:] == b""


def test_a_body_after_an_upgrade_is_not_read_as_a_request(upstream, port):
    before = len(upstream.received)
    with Client(port) as client:
        client.send(POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 41\r\n\r\n")
        assert client.answer().status == 501
        with contextlib.suppress(ConnectionError):
            client.send(HIDDEN)
        assert client.at_end
    assert upstream.received[before:] == b""


@pytest.mark.parametrize("length", ["5 ", "\t5", "005"])
def test_an_unusual_length_is_normalized(length):
    with answering(seen=(seen := [])) as upstream, proxying(upstream.url) as port, Client(port) as client:
        client.send(POST + f"Content-Length: {length}\r\n\r\nhello".encode() + HIDDEN)
        assert [client.answer().body, client.answer().body] == [b"ok", b"ok"]
    assert (seen[0].values(b"content-length"), seen[0].body) == ([b"5"], b"hello")
    assert seen[1].target == b"/hidden"


def test_garbage_after_a_request_is_answered_after_its_response():
    sent = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        sent.wait(10)
        peer.send(b"world")
        peer.wait_for_close()

    with Upstream(script) as upstream, proxying(upstream.url) as port, Client(port) as client:
        client.send(request())
        assert client.head().status == 200
        assert client.read(5) == b"hello"
        client.send(b"garbage\r\n\r\n")
        sent.set()
        assert client.read(5) == b"world"
        assert client.answer().status == 400
        assert client.at_end


@pytest.mark.parametrize(
    "response",
    {
        "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "coding and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
        "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
        "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "chunked, identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "coding in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "folded header": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "space before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "bare CR": b"HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 0\r\n\r\n",
        "NUL": b"HTTP/1.1 200 OK\r\nX-A: \x00\r\nContent-Length: 0\r\n\r\n",
        "no HTTP": b"220 smtp.test ready\r\n",
        "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "status 099": b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
        "status 600": b"HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n",
        "status 20": b"HTTP/1.1 20 No\r\nContent-Length: 0\r\n\r\n",
        "another protocol": b"HTTP/1.1 101 Yes\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    }.items(),
    ids=lambda response: response[0],
)
def test_an_ambiguous_response_is_a_bad_gateway_and_its_connection_is_not_reused(response):
    with answering(response[1], OK) as upstream, proxying(upstream.url, headers=[(b"ratelimit", b"r")]) as port:
        answer = get(port)
        assert (answer.status, answer.problem["title"]) == (502, "Bad Gateway")
        assert answer.values(b"proxy-status") == [b"limiter; error=http_protocol_error"]
        assert answer.values(b"ratelimit") == [b"r"]
        assert get(port).body == b"ok"
    assert len(upstream.peers) == 2


@pytest.mark.parametrize(
    ("method", "first"),
    [
        ("GET", OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("GET", OK + b"rest"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\nrest"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil"),
    ],
)
def test_bytes_after_upstreams_response_are_dropped(method, first):
    with answering(first, OK) as upstream, proxying(upstream.url) as port, Client(port) as client:
        assert client.send(request(method=method)).answer(method).status == int(first.split()[1])
        assert client.send(request()).answer().body == b"ok"
    assert len(upstream.peers) == 2


SECOND = b"HTTP/1.1 500 Internal Server Error\r\nX-Evil: yes\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize("second", [SECOND, SECOND[:40], SECOND.replace(b"500", b"103")])
def test_the_status_of_a_second_response_in_the_same_segment_does_not_reach_the_client(second):
    with answering(OK + second, OK) as upstream, proxying(upstream.url) as port, Client(port) as client:
        for _ in range(2):
            answer = client.send(request()).answer()
            assert (answer.status, answer.body, answer.values(b"x-evil")) == (200, b"ok", [])
    assert len(upstream.peers) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_response_before_its_request_is_not_given_to_that_request(method):
    """It arrives while the event loop is blocked, so it is in the kernel's buffer when the connection would be used again."""
    blocked, sent = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        if len(upstream.peers) == 1:
            assert blocked.wait(10)
            peer.send(SECOND)
            sent.set()
        peer.request()
        peer.send(OK)

    def trusts(_: str) -> bool:
        """Blocks the event loop in the second request, which has no connection to upstream yet."""
        if asked.pop():
            blocked.set()
            sent.wait(10)
        return False

    asked = [True, False]
    with Upstream(script) as upstream, proxying(upstream.url, trusts=trusts) as port, Client(port) as client:
        assert client.send(request()).answer().status == 200
        assert client.send(request(method=method)).answer().status == 200
    assert len(upstream.peers) == 2
