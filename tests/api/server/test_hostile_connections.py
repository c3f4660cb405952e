"""Attacks by connections: memory and descriptors stay bounded, a limit of 5 a minute stays 5, and others are answered.

In real time, as the subject is time-outs. They are a second here.
"""

import contextlib
import itertools
import socket
import threading
import uuid

import psutil
import pytest

from support.holding import MOST_GROWTH, Memory, at_once, connected, connections, descriptors, is_open_after
from support.proxy.raw_upstream import OK, Peer, Upstream
from support.servers.sidecar import digest, sidecar
from support.waiting import eventually

BIG = 20_000_000
KEYS = 20
CONFIG = """
policies: {{ five: {{ limits: [5/minute], failure: open }}, many: {{ limits: [1000000/minute], failure: closed }} }}
tiers: {{ free: {{ key: five }}, pro: {{ key: many }} }}
redis: {{ prefix: {prefix}, deadline: 5s }}
connections: {{ {bounds} }}
keys:
  - {{ name: good, digest: "sha256:{good}", tier: pro }}
{fresh}
"""
SHORT = "head: 1s, body: 1s, answer: 1s, idle: 5s"


def started(folder, server, *arguments, bounds="", **options):
    fresh = "\n".join(f'  - {{ name: fresh-{n}, digest: "sha256:{digest(f"fresh-{n}")}", tier: free }}' for n in range(KEYS))
    text = CONFIG.format(prefix=f"t{uuid.uuid4().hex[:8]}", bounds=bounds, good=digest("good-key"), fresh=fresh)
    return sidecar(folder, text, *arguments, redis=server.url, **options)


def respond(peer: Peer) -> None:
    """20 MB at paths that end in `big`, and no answer at those that end in `never`."""
    while (seen := peer.request()) is not None and not seen.target.endswith(b"never"):
        big = seen.target.endswith(b"big")
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(BIG) if big else OK)
    peer.wait_for_close()


@pytest.fixture(scope="module")
def upstream():
    with Upstream(respond) as running:
        yield running


@pytest.fixture(scope="module")
def front(server, tmp_path_factory):
    with started(tmp_path_factory.mktemp("front"), server, bounds=SHORT) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server, upstream, tmp_path_factory):
    with started(tmp_path_factory.mktemp("proxy"), server, "--upstream", upstream.url, bounds=SHORT) as running:
        yield running


@pytest.fixture(params=["front", "proxy"])
def running(request):
    return request.getfixturevalue(request.param)


_unused = itertools.count()


@pytest.fixture
def key() -> str:
    """A key that no other test uses, with a limit of 5 a minute."""
    return f"fresh-{next(_unused)}"


def head(key: str, *lines: str, method: str = "GET", path: str = "/authorize") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", f"x-api-key: {key}", *lines, "", ""]).encode()


def asked(upstream: Upstream, path: bytes) -> int:
    """How many requests for this path upstream has received. Connections to it are used again, so their number says less."""
    return upstream.received.count(b"GET %b HTTP/1.1\r\n" % path)


def assert_serves(running):
    assert running.ask(key="good-key").status == 200
    assert running.manage("/healthz").status == 200


def test_pipelined_requests_on_many_connections_wait_at_the_client(running, key):
    """20 MB of requests. Each connection sends until the sidecar reads no more, and reads no answers."""
    requests = head(key) * (BIG // 50 // len(head(key)))
    with Memory(running.process.pid) as memory, connections(running.port, 50) as opened:
        for each in opened:
            each.settimeout(0.5)
        at_once(lambda number: opened[number].sendall(requests), 50)
        assert_serves(running)
        admitted = sum(each.recv(50_000).count(b"HTTP/1.1 200") for each in opened)
    assert memory.growth < MOST_GROWTH
    assert admitted <= 5


def test_pipelined_requests_on_one_connection_wait_at_the_client(running, key):
    """20 MB of requests, from a client that reads all answers."""
    admitted = []

    def read():
        with contextlib.suppress(OSError):
            while data := connection.recv(1 << 20):
                admitted.append(data.count(b"HTTP/1.1 200"))

    with Memory(running.process.pid) as memory, connected(running.port) as connection:
        connection.settimeout(2)
        reader = threading.Thread(target=read)
        reader.start()
        with contextlib.suppress(TimeoutError):
            connection.sendall(head(key) * (BIG // len(head(key))))
        assert_serves(running)
        connection.shutdown(socket.SHUT_RDWR)
        reader.join()
    assert memory.growth < MOST_GROWTH
    assert 1 <= sum(admitted) <= 5


def test_heads_that_trickle_time_out(running):
    """Nothing that the client sends moves the deadline, except a complete head."""
    trickles = [b"", b"\r\n", b"G", b"GET /authorize HTTP/1.1\r\nX: y"]
    with contextlib.ExitStack() as stack:
        left = {each: first for first in trickles for each in stack.enter_context(connections(running.port, 25, first))}

        def none_is_left():
            for each in [each for each, first in left.items() if not is_open_after(each, first if first == b"\r\n" else first[-1:])]:
                del left[each]
            return not left

        eventually(none_is_left, "all connections to be closed")
        assert_serves(running)


def test_bodies_that_trickle_time_out(proxy):
    with connections(proxy.port, 50, head("good-key", "Content-Length: 100000", method="POST")) as opened:
        left = set(opened)

        def none_is_left():
            left.difference_update([each for each in left if not is_open_after(each, b"x")])
            return not left

        eventually(none_is_left, "all connections to be closed")
        assert_serves(proxy)


def test_a_slow_upload_that_goes_on_is_not_ended(proxy):
    """It pauses for less than the time-out, and takes several times as long."""
    with connected(proxy.port) as connection:
        connection.sendall(head("good-key", "Content-Length: 4000", method="POST"))
        for _ in range(10):
            threading.Event().wait(0.3)
            connection.sendall(b"x" * 400)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_clients_that_do_not_read_large_answers_are_disconnected(proxy, upstream):
    before = descriptors(proxy)
    with Memory(proxy.process.pid) as memory, connections(proxy.port, 25, head("good-key", path="/big")):
        eventually(lambda: asked(upstream, b"/big") == 25, "upstream to be asked")
        eventually(lambda: descriptors(proxy) <= before + 5, "the connections to be closed")
        assert_serves(proxy)
    assert memory.growth < MOST_GROWTH


def test_clients_that_do_not_read_small_answers_are_disconnected(front):
    """They send requests until the answers fill the buffers of both kernels."""
    before = descriptors(front)
    with Memory(front.process.pid) as memory, connections(front.port, 2) as opened:
        for each in opened:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        at_once(lambda number: opened[number].sendall(head("good-key") * (BIG // len(head("good-key")))), 2)
        eventually(lambda: descriptors(front) <= before, "the connections to be closed")
        assert_serves(front)
    assert memory.growth < MOST_GROWTH


@pytest.mark.parametrize("proxies", [False, True], ids=["front", "proxy"])
def test_idle_connections_leave_descriptors_for_everything_else(tmp_path, server, client, upstream, proxies):
    """More of them than descriptors, on both listeners, while the sidecar has to connect to Redis again for each request."""
    with contextlib.ExitStack() as stack:
        arguments = ["--upstream", upstream.url] if proxies else []
        running = stack.enter_context(started(tmp_path, server, *arguments, descriptors=256))
        memory = stack.enter_context(Memory(running.process.pid))
        stack.enter_context(connections(running.port, 300))
        stack.enter_context(connections(int(running.admin.rpartition(":")[2]), 120))
        statuses = []
        for _ in range(8):
            client.client_kill_filter(_type="normal", skipme=True)
            statuses.append(running.ask(key="fresh-0").status)
        assert statuses.count(200) == 5
        assert set(statuses) <= {200, 429, 503}
        assert_serves(running)
        assert descriptors(running) <= 256 - 32
    assert memory.growth < MOST_GROWTH


def test_a_lack_of_descriptors_neither_spins_nor_floods_the_log_nor_ends_the_listener(tmp_path, server):
    with started(tmp_path, server) as running:
        process = psutil.Process(running.process.pid)
        assert_serves(running)
        limits = process.rlimit(psutil.RLIMIT_NOFILE)
        # The connections to Redis are open already.
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), limits[1]))
        with connections(running.port, 20):
            eventually(lambda: errors_in(running.log), "the error in the log")
            before = process.cpu_times()
            eventually(lambda: len(errors_in(running.log)) > 1, "the error in the log again")
            used = process.cpu_times()
            assert used.user + used.system - before.user - before.system < 0.5
            process.rlimit(psutil.RLIMIT_NOFILE, limits)
            assert_serves(running)
        assert len(errors_in(running.log)) <= 10


def errors_in(log: list[dict]) -> list[dict]:
    return [line for line in log if line["event"].startswith("cannot accept connections")]


def test_refused_connections_get_503_and_are_logged_together(tmp_path, server, upstream):
    """Connections with a request in progress are not ended for new ones."""
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(started(tmp_path, server, "--upstream", upstream.url, bounds="most: 10"))
        stack.enter_context(connections(running.port, 10, head("good-key", path="/never")))
        eventually(lambda: asked(upstream, b"/never") == 10, "upstream to be asked")
        for _ in range(30):
            refused = running.ask(key="good-key")
            assert (refused.status, refused.headers["Connection"], refused.headers["Retry-After"]) == (503, "close", "1")
            assert refused.json()["type"].endswith("#temporary-reduced-capacity")
        lines = eventually(lambda: [line for line in running.log if line["event"] == "too many connections"], "a line in the log")
        assert len(lines) < 30
        assert running.manage("/healthz").status == 200
