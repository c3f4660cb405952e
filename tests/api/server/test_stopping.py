"""SIGTERM behind a load balancer, with requests in flight: not ready at once, then a delay, then the drain time. In real time."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.proxy.raw_client import Client, request
from support.proxy.raw_upstream import OK, Peer, Upstream
from support.servers.sidecar import sidecar
from support.waiting import eventually

CONFIG = """
policies: {{ standard: {{ limits: [100000/minute] }} }}
identify: {{ anonymous: standard }}
redis: {{ prefix: {prefix}, deadline: 10s }}
"""


@pytest.fixture
def slow():
    """An upstream that answers `/slow` when it is released, and everything else at once."""
    return Slow()


class Slow:
    def __init__(self) -> None:
        self.waiting: list[Peer] = []
        self.released = False

    def script(self, peer: Peer) -> None:
        while seen := peer.request():
            if seen.target == b"/slow":
                self.waiting.append(peer)
                eventually(lambda: self.released or peer.closed.is_set(), "the release")
            peer.send(OK)


def ready(running):
    return running.manage("/readyz").status


def stopping(running, event):
    return [line for line in running.log if line["event"].startswith(event)]


def refuses(running):
    try:
        Client(running.port).sock.close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_listener_goes_on_for_the_delay_and_requests_in_flight_are_finished(tmp_path, server, prefix, slow, workers):
    """Two seconds of delay. The option takes precedence over the file."""
    config = CONFIG.format(prefix=prefix) + "shutdown: { delay: 1h, drain: 20s }\n"
    with Upstream(slow.script) as upstream, ThreadPoolExecutor() as threads:
        arguments = ["--workers", workers, "--upstream", upstream.url, "--shutdown-delay", "2s"]
        with sidecar(tmp_path, config, *arguments, redis=server.url) as running:
            in_flight = threads.submit(running.ask, "/slow")
            eventually(lambda: slow.waiting, "the request upstream")
            began = time.monotonic()
            running.send(signal.SIGTERM)
            eventually(lambda: ready(running) == 503, "not ready")
            served = 0
            while not stopping(running, "stopping: finishing"):
                try:
                    assert running.ask("/").status == 200
                    served += 1
                except OSError:
                    assert time.monotonic() - began >= 2
            assert served
            eventually(lambda: refuses(running), "the end of listening")
            assert time.monotonic() - began >= 2
            assert not in_flight.done()
            slow.released = True
            reply = in_flight.result()
            assert (reply.status, reply.body) == (200, b"ok")
            assert running.process.wait(20) == 0
    assert stopping(running, "stopping: not ready")[0]["shutdown_delay"] == 2
    assert stopping(running, "stopping: finishing")[0]["drain_time"] == 20


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_that_outlasts_the_drain_time_is_cut_off(tmp_path, server, prefix, slow, workers):
    """A second of drain time, from the environment."""
    with Upstream(slow.script) as upstream:
        options = ["--workers", workers, "--upstream", upstream.url]
        with sidecar(tmp_path, CONFIG.format(prefix=prefix), *options, redis=server.url, env={"LIMITER_DRAIN_TIME": "1s"}) as running:
            with Client(running.port) as client:
                client.send(request("/slow"))
                eventually(lambda: slow.waiting, "the request upstream")
                running.send(signal.SIGTERM)
                assert running.process.wait(20) == 0
                answer = client.answer()
            assert (answer.status, answer.values(b"connection")) == (503, [b"close"])
            assert answer.problem["detail"] == "The limiter stopped before the request was answered."
            assert [line["requests"] for line in stopping(running, "the time to stop is over")] == [1]
            assert b"Traceback" not in running.raw_log
        slow.released = True


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_the_delay_and_the_drain_time(tmp_path, server, prefix, slow, workers):
    config = CONFIG.format(prefix=prefix) + "shutdown: { delay: 1h, drain: 1h }\n"
    with Upstream(slow.script) as upstream:
        with sidecar(tmp_path, config, "--workers", workers, "--upstream", upstream.url, redis=server.url) as running:
            with Client(running.port) as client:
                client.send(request("/slow"))
                eventually(lambda: slow.waiting, "the request upstream")
                running.send(signal.SIGTERM)
                eventually(lambda: stopping(running, "stopping: not ready"), "the stop")
                running.send(signal.SIGTERM)
                assert running.process.wait(20) == 1
            assert b"Traceback" not in running.raw_log
        slow.released = True


def test_a_signal_to_all_processes_does_not_end_the_workers_before_their_parent(tmp_path, server, prefix):
    """As systemd sends it by default. Takes a second of delay."""
    with sidecar(tmp_path, CONFIG.format(prefix=prefix), "--workers", "2", "--shutdown-delay", "1s", redis=server.url) as running:
        workers = running.workers
        for process in workers:
            os.kill(process, signal.SIGTERM)
        running.send(signal.SIGTERM)
        eventually(lambda: stopping(running, "stopping: not ready"), "the stop")
        assert running.ask("/authorize").status == 200
        assert running.workers == workers
        assert running.process.wait(20) == 0
    assert not stopping(running, "worker ended")
