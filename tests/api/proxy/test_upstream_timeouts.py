"""The time-outs to the upstream of a running sidecar, what its client gets, and what the request costs. In real time: a second each."""

import pytest

from support.proxy.raw_client import Client, Truncated, request
from support.proxy.raw_upstream import OK, Peer, Upstream
from support.servers.sidecar import sidecar
from support.waiting import eventually

CONFIG = """
policies: {{ standard: {{ limits: [100/hour] }} }}
identify: {{ anonymous: standard }}
redis: {{ prefix: {prefix}, deadline: 10s }}
"""


def script(peer: Peer) -> None:
    """Answers `/`, never answers `/silent`, and stops in the middle of its answer to `/stalls`."""
    while seen := peer.request():
        if seen.target == b"/":
            peer.send(OK)
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello" if seen.target == b"/stalls" else b"")
            peer.wait_for_close()


@pytest.fixture(scope="module", params=["1", "2"])
def running(request, tmp_path_factory, server):
    config = CONFIG.format(prefix=f"timeouts-{request.param}") + "upstream: { head: 1s, body: 1s }\n"
    with Upstream(script) as upstream:
        options = ["--upstream", upstream.url, "--workers", request.param]
        with sidecar(tmp_path_factory.mktemp("sidecar"), config, *options, redis=server.url) as running:
            yield running


def remaining(reply) -> int:
    return int(reply.headers["X-RateLimit-Remaining"])


def test_a_silent_upstream_is_504_with_the_numbers_and_stays_charged(running):
    before = remaining(running.ask("/"))
    late = running.ask("/silent")
    assert (late.status, late.headers["Proxy-Status"]) == (504, "limiter; error=http_response_timeout")
    assert late.json()["detail"] == "The upstream did not answer within 1 s."
    assert late.headers["Retry-After"] is None
    assert remaining(late) == before - 1
    assert remaining(running.ask("/")) == before - 2


def test_a_response_that_stops_is_cut_off_and_stays_charged(running):
    before = remaining(running.ask("/"))
    with Client(running.port) as client:
        assert client.send(request("/stalls")).head().status == 200
        with pytest.raises(Truncated):
            client.read(10)
    assert remaining(running.ask("/")) == before - 2
    (line, *_) = eventually(lambda: [each for each in running.log if each["event"] == "the upstream fails"], "the line")
    assert line["error"] == "http_response_timeout"
