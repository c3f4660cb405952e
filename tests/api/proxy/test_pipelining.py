"""Requests that a client sends without waiting for answers."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.proxy.proxying import serving
from support.proxy.raw_client import Client

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
METHODS = st.sampled_from(["GET", "POST", "PUT"])
BODIES = st.one_of(st.just(b""), st.binary(max_size=40), st.sampled_from([b"\r\n\r\n", GET, b"\r\n\r\n" * 400, bytes(3000) + GET]))


async def echo(scope, receive, send):
    """Answers with the path and the body."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer = scope["raw_path"] + b" " + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})


@pytest.fixture(scope="module")
def port():
    with serving(echo, lifespan="off") as running:
        yield running


def encoded(number: int, method: str, body: bytes, *, chunked: bool) -> bytes:
    head = b"%b /%d HTTP/1.1\r\nHost: x\r\n" % (method.encode(), number)
    if not chunked:
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"


@settings(max_examples=100)
@given(
    requests=st.lists(st.tuples(METHODS, BODIES, st.booleans()), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 20_000), max_size=12),
)
def test_requests_are_answered_in_order_wherever_their_segments_end(port, requests, cuts):
    sent = b"".join(encoded(number, method, body, chunked=chunked) for number, (method, body, chunked) in enumerate(requests))
    places = sorted({0, len(sent), *(cut % len(sent) for cut in cuts)})
    with Client(port) as client:
        for begin, end in itertools.pairwise(places):
            client.send(sent[begin:end])
        answers = [client.answer().body for _ in requests]
    assert answers == [b"/%d %b" % (number, body) for number, (_, body, _) in enumerate(requests)]


INVALID = {
    b"garbage\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 300 + b"\r\n": 431,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n": 400,
}


@settings(max_examples=50)
@given(
    requests=st.lists(st.tuples(METHODS, BODIES, st.booleans()), min_size=1, max_size=5),
    invalid=st.sampled_from(sorted(INVALID)),
    cuts=st.lists(st.integers(0, 20_000), max_size=12),
)
def test_the_requests_before_an_invalid_one_are_answered(port, requests, invalid, cuts):
    valid = b"".join(encoded(number, method, body, chunked=chunked) for number, (method, body, chunked) in enumerate(requests))
    sent = valid + invalid
    places = sorted({0, len(sent), *(cut % (len(valid) + 1) for cut in cuts)})
    with Client(port) as client:
        for begin, end in itertools.pairwise(places):
            client.send(sent[begin:end])
        answers = [client.answer().body for _ in requests]
        assert answers == [b"/%d %b" % (number, body) for number, (_, body, _) in enumerate(requests)]
        assert client.answer().status == INVALID[invalid]
        assert client.at_end


def test_an_offer_to_upgrade_does_not_lose_the_next_request(port):
    offer = b"GET /1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with Client(port) as client:
        client.send(offer + GET)
        assert [client.answer().body for _ in range(2)] == [b"/1 ", b"/ "]


def test_a_bad_request_after_a_good_one_ends_the_connection_after_its_answer(port):
    with Client(port) as client:
        client.send(GET + b"garbage\r\n\r\n" + GET)
        assert [client.answer().status for _ in range(2)] == [200, 400]
        assert client.at_end


@pytest.mark.parametrize(("count", "status"), [(250, 200), (300, 431)])
def test_a_request_has_at_most_256_headers(port, count, status):
    with Client(port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * count + b"\r\n")
        assert client.answer().status == status


INVALID_HEAD_REQUESTS = [
    b"HEAD / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 300,
    b"HEAD / HTTP/1.1\r\nHost: x\r\na b\r\n\r\n",
    b"HEAD /#fragment HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n",
]


@pytest.mark.parametrize("request_", INVALID_HEAD_REQUESTS, ids=["431", "400", "fragment", "body"])
def test_the_refusal_of_a_head_request_has_no_body(port, request_):
    with Client(port) as client:
        client.send(request_)
        answer = client.answer(method="HEAD")
        assert answer.status in (400, 431)
        assert int(answer.values(b"content-length")[0]) > 0
        assert client.at_end


def test_a_head_with_too_many_headers_is_refused_before_it_is_complete(port):
    with Client(port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 300)
        assert client.answer().status == 431
