"""What all connections hold together stays below 64 MB and comes back, and a client beside them is answered.

The connections have no time-outs here, so only the bound on what they hold can end them. The sidecar starts anew for each attack, because
memory that an earlier attack has used could hide the growth.
"""

import contextlib
import socket
import uuid

import pytest

from support.attack import raise_descriptor_limit
from support.holding import MOST_GROWTH, Memory, connected, connections, pour
from support.proxy.raw_upstream import OK, Peer, Upstream
from support.servers.sidecar import digest, sidecar
from support.waiting import eventually

ATTACKERS = 300
MUCH = 2_000_000
BIG_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MUCH + bytes(MUCH)
CONFIG = """
policies: {{ many: {{ limits: [1000000/minute], failure: closed }} }}
tiers: {{ pro: {{ key: many }} }}
redis: {{ prefix: {prefix}, deadline: 5s }}
connections: {{ head: 1h, body: 1h, answer: 1h, held: {held} }}
keys: [{{ name: good, digest: "sha256:{good}", tier: pro }}]
"""


@pytest.fixture
def started(tmp_path, server):
    raise_descriptor_limit()

    @contextlib.contextmanager
    def start(*arguments, held="32MiB"):
        text = CONFIG.format(prefix=f"t{uuid.uuid4().hex[:8]}", good=digest("good-key"), held=held)
        with sidecar(tmp_path, text, *arguments, redis=server.url) as running:
            yield running

    return start


def head(method="GET", path="/authorize", *lines):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", "x-api-key: good-key", *lines, "", ""]).encode()


UPLOAD = head("POST", "/slow", f"Content-Length: {MUCH}")


def answer_much(peer: Peer) -> None:
    while (seen := peer.request()) is not None:
        peer.send(BIG_ANSWER if seen.target == b"/big" else OK)


@contextlib.contextmanager
def deaf():
    """The URL of a listener that accepts nothing. The kernel accepts for it, and reads only as much as fits into its buffers."""
    with socket.create_server(("127.0.0.1", 0), backlog=2 * ATTACKERS) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def assert_holds_little(running, first: bytes, more: bytes = b"", *, path: str, key: str | None = "good-key", status=200):
    """Connections send `first`, and as much of `more` as the sidecar reads. They read nothing."""
    with Memory(running.process.pid) as memory:
        with connections(running.port, ATTACKERS, first, have_small_buffers=True) as opened:
            pour(opened, more)
            for _ in range(20):
                assert running.ask(path, key=key).status == status
            assert running.manage("/healthz").status == 200
        eventually(lambda: memory.growth_now < MOST_GROWTH / 2, "the memory to come back")
        assert running.ask(path, key=key).status == status
    assert memory.growth < MOST_GROWTH


def test_answers_that_nobody_reads(started):
    with Upstream(answer_much) as upstream, started("--upstream", upstream.url) as running:
        assert_holds_little(running, head(path="/big"), path="/good")


def test_uploads_to_an_upstream_that_reads_nothing(started):
    """The client beside them has no key, because upstream answers nobody."""
    with deaf() as url, started("--upstream", url) as running:
        assert_holds_little(running, UPLOAD, bytes(MUCH), path="/good", key=None, status=401)


def test_pipelined_requests(started):
    with started() as running:
        assert_holds_little(running, b"", head() * (MUCH // len(head())), path="/authorize")


def test_unfinished_heads(started):
    with started() as running:
        assert_holds_little(running, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"Y: ", b"x" * 60_000, path="/authorize")


def test_beyond_the_bound_connections_that_do_not_move_are_ended_and_others_are_not(started):
    with Upstream(answer_much) as upstream, started("--upstream", upstream.url, held="1MiB") as running:
        with connections(running.port, 100, head(path="/big"), have_small_buffers=True), connected(running.port) as reader:
            lines = eventually(lambda: given_up(running), "connections to be ended")
            reader.sendall(head(path="/big"))
            left = len(BIG_ANSWER)
            while left > 0 and (data := reader.recv(65536)):
                left -= len(data)
        assert left <= 0
        assert 1 <= sum(line["ended"] for line in lines) <= 100
        assert lines[0]["most"] == 1 << 20


def test_a_request_that_is_ended_for_what_others_hold_gets_503(started):
    with deaf() as url, started("--upstream", url, held="1MiB") as running, connections(running.port, 100, UPLOAD) as opened:
        pour(opened, bytes(MUCH))
        eventually(lambda: given_up(running), "connections to be ended")
        answers = [answer for each in opened if (answer := received(each))]
    assert answers
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in answer
        assert b"#temporary-reduced-capacity" in answer


def given_up(running) -> list[dict]:
    return [line for line in running.log if line["event"].startswith("connections ended")]


def received(connection: socket.socket) -> bytes:
    """What has arrived. The sidecar closes a connection with bytes unread, so a reset may come before the response."""
    with contextlib.suppress(OSError):
        return connection.recv(65536)
    return b""
