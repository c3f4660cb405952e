"""Bodies of any size pass as they arrive, at the pace of the slower side."""

import threading

import psutil
import pytest

from support.proxy.proxying import proxy_process, proxying
from support.proxy.raw_client import Client, request
from support.proxy.raw_upstream import OK, PATIENCE, Peer, Upstream

MIB = 1 << 20
GIB = 1 << 30
# What the proxy and the kernel's socket buffers (two connections with two ends each) can hold.
IN_FLIGHT = 64 * MIB


def test_server_sent_events_arrive_as_they_are_sent():
    """Upstream sends an event only after the client has received the last one, so buffering would cause a timeout."""
    arrived = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(20):
            event = b"data: %d\n\n" % number
            assert arrived.acquire(timeout=PATIENCE)
            peer.send(b"%x\r\n%b\r\n" % (len(event), event))
        peer.send(b"0\r\n\r\n")

    with Upstream(script) as upstream, proxying(upstream.url) as port, Client(port) as client:
        assert client.send(request("/events")).head().values(b"content-type") == [b"text/event-stream"]
        for number in range(20):
            arrived.release()
            assert client.chunk() == b"data: %d\n\n" % number
        assert client.chunk() == b""


def test_parts_of_a_request_and_of_its_response_can_alternate():
    """Upstream echoes each part before the client sends the next one."""

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(20):
            while b"part %02d" % number not in peer.received:
                assert peer.recv()
            peer.send(b"7\r\npart %02d\r\n" % number)
        while not peer.received.endswith(b"\r\n0\r\n\r\n"):
            peer.recv()
        peer.send(b"0\r\n\r\n")

    with Upstream(script) as upstream, proxying(upstream.url) as port, Client(port) as client:
        client.send(request("/echo", "Transfer-Encoding: chunked", method="POST"))
        assert client.head().status == 200
        for number in range(20):
            client.send(b"7\r\npart %02d\r\n" % number)
            assert client.chunk() == b"part %02d" % number
        assert client.send(b"0\r\n\r\n").chunk() == b""


def test_a_gigabyte_down_takes_little_memory():
    block = b"x" * MIB

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
            for _ in range(GIB // MIB):
                peer.send(block)

    with Upstream(script) as upstream, proxy_process(upstream.url) as (port, pid), Client(port) as client:
        memory = psutil.Process(pid).memory_info
        before = memory().rss
        client.send(request()).head()
        sizes = []
        client.discard(GIB, watch=lambda: sizes.append(memory().rss))
    assert max(sizes) - before < 64 * MIB


def test_a_gigabyte_up_takes_little_memory():
    def script(peer: Peer) -> None:
        assert peer.head()
        drain(peer, GIB)
        peer.send(OK)
        peer.wait_for_close()

    with Upstream(script) as upstream, proxy_process(upstream.url) as (port, pid), Client(port) as client:
        memory = psutil.Process(pid).memory_info
        before, most, block = memory().rss, 0, b"x" * 4 * MIB
        client.send(request("/", f"Content-Length: {GIB}", method="PUT"))
        for _ in range(GIB // len(block)):
            client.send(block)
            most = max(most, memory().rss)
        assert client.answer().body == b"ok"
    assert most - before < 64 * MIB


def drain(peer: Peer, size: int) -> None:
    """Reads `size` bytes of the body. Some may have arrived with the head."""
    left = size - len(bytes(peer.received).partition(b"\r\n\r\n")[2])
    buffer = bytearray(4 * MIB)
    while left:
        count = peer.sock.recv_into(buffer, min(left, len(buffer)))
        assert count
        left -= count


def test_a_slow_client_slows_upstream_down():
    size, stuck, sent = 256 * MIB, threading.Event(), []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        sent.append(until_stuck(peer.sock, size))
        stuck.set()
        peer.sock.settimeout(PATIENCE)
        peer.send(b"x" * (size - sent[0]))
        peer.wait_for_close()

    with Upstream(script) as upstream, proxying(upstream.url) as port, Client(port) as client:
        client.send(request()).head()
        assert stuck.wait(PATIENCE)
        assert sent[0] < IN_FLIGHT
        assert len(client.read(size)) == size


def test_a_slow_upstream_slows_the_client_down():
    size, goes_on = 256 * MIB, threading.Event()

    def script(peer: Peer) -> None:
        assert peer.head()
        assert goes_on.wait(PATIENCE)
        drain(peer, size)
        peer.send(OK)
        peer.wait_for_close()

    with Upstream(script) as upstream, proxying(upstream.url) as port, Client(port) as client:
        client.send(request("/", f"Content-Length: {size}", method="POST"))
        sent = until_stuck(client.sock, size)
        assert sent < IN_FLIGHT
        goes_on.set()
        client.sock.settimeout(PATIENCE)
        client.send(b"x" * (size - sent))
        assert client.answer().body == b"ok"


def until_stuck(sock, size: int) -> int:
    """Sends up to `size` bytes, until none are accepted for half a second. Returns how many were sent."""
    sock.settimeout(0.5)
    block, sent = b"x" * MIB, 0
    try:
        while sent < size:
            sent += sock.send(block[: size - sent])
    except TimeoutError:
        pass
    return sent


def test_a_client_that_disconnects_before_the_response_ends_the_request_upstream():
    asked = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        asked.set()
        peer.wait_for_close()

    with Upstream(script) as upstream, proxying(upstream.url) as port:
        with Client(port) as client:
            client.send(request())
            assert asked.wait(PATIENCE)
        assert upstream.peers[0].closed.wait(PATIENCE)


def test_a_client_that_disconnects_within_its_body_ends_the_request_upstream():
    asked = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        asked.set()
        peer.wait_for_close()

    with Upstream(script) as upstream, proxying(upstream.url) as port:
        with Client(port) as client:
            client.send(request("/", "Content-Length: 10", method="POST") + b"hello")
            assert asked.wait(PATIENCE)
        assert upstream.peers[0].closed.wait(PATIENCE)


def test_a_client_that_disconnects_within_the_response_ends_it_upstream():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                peer.send(b"5\r\nhello\r\n")
        except OSError:
            peer.closed.set()

    with Upstream(script) as upstream, proxying(upstream.url) as port:
        with Client(port) as client:
            client.send(request()).head()
            assert client.chunk().startswith(b"hello")
        assert upstream.peers[0].closed.wait(PATIENCE)


@pytest.mark.parametrize("rest", ["comes", "never comes"])
def test_a_response_can_arrive_before_the_body_is_complete(rest):
    """The proxy then closes the connection to upstream and drops the rest of the body."""

    def script(peer: Peer) -> None:
        if peer.head().target == b"/early":
            peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            peer.wait_for_close()
        else:
            peer.send(OK)
            peer.wait_for_close()

    with Upstream(script) as upstream, proxying(upstream.url) as port, Client(port) as client:
        client.send(request("/early", "Content-Length: 10", method="POST") + b"hello")
        assert client.answer().status == 413
        assert upstream.peers[0].closed.wait(PATIENCE)
        if rest == "comes":
            assert client.send(b"world" + request("/next")).answer().body == b"ok"
