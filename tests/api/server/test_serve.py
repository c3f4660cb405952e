"""`limiter serve` with real signals. Tests that need real time say how long they take."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from limiter.api.server.backend import open_backend
from support.load import load
from support.servers.redis_server import redis_server
from support.servers.sidecar import ask, digest, sidecar
from support.waiting import eventually

CONFIG = """
policies:
  reads: {{ limits: [{capacity}/minute, {hourly}/hour], failure: open }}
  writes: {{ limits: [1000000/minute], failure: closed }}
tiers:
  reader: {{ key: reads }}
  writer: {{ key: writes }}
redis: {{ prefix: {prefix} }}
keys:
  - {{ name: reading, digest: "sha256:{reading}", tier: reader }}
  - {{ name: writing, digest: "sha256:{writing}", tier: writer }}
"""


@pytest.fixture
def config(prefix):
    """Builds the text of a configuration from its limits."""

    def config(capacity=1_000_000, hourly=2_000_000):
        keys = {"reading": digest("reading-key"), "writing": digest("writing-key")}
        return CONFIG.format(capacity=capacity, hourly=hourly, prefix=prefix, **keys)

    return config


def test_the_start_is_logged_on_one_line(shared, server):
    started = shared.started
    assert started["redis"]["where"] == server.url
    assert started["redis"]["version"].count(".") == 2
    assert "standard" in started["policies"]
    assert len(started["config"]["digest"]) == 12


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_graceful_stop_loses_no_request(tmp_path, config, server, workers):
    """At 500 requests/s for about a second. Later connections are refused."""
    with (
        sidecar(tmp_path, config(), "--workers", workers, redis=server.url) as running,
        load(url=running.front, rate=500, seconds=20, keys=["reading-key"]) as clients,
    ):
        eventually(
            lambda: running.decide("peek", policy="reads", subject="reading", cost=0).json()["limits"][0]["remaining"] < 999_500, "load"
        )
        assert running.stop() == 0
        report = clients.report()
    assert report["lost"] == []
    assert report["refused"] > 0
    assert {status for _, _, status, _ in report["answers"]} == {200}


def test_a_second_signal_stops_at_once(tmp_path, config, server):
    with sidecar(tmp_path, config(), redis=server.url) as running, socket.create_connection(("127.0.0.1", running.port)) as unfinished:
        # A body that never arrives keeps the request in flight.
        unfinished.sendall(b"POST /v1/take HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
        eventually(lambda: ask(running.front, "/").status == 404, "the request before it was read")
        running.send(signal.SIGTERM)
        eventually(lambda: any(line["event"].startswith("stopping") for line in running.log), "the stop")
        began = time.monotonic()
        running.send(signal.SIGTERM)
        running.process.wait(10)
        assert time.monotonic() - began < 5


def test_readiness_follows_redis_and_health_does_not(tmp_path, config):
    with redis_server() as own, sidecar(tmp_path, config(), redis=own.url) as running:
        assert running.manage("/readyz").status == 200
        own.stop()
        eventually(lambda: running.manage("/readyz").status == 503, "not ready")
        assert running.manage("/healthz").status == 200
        assert running.ask(key="reading-key").status == 200
        assert running.ask(key="writing-key").status == 503
        own.start()
        eventually(lambda: running.manage("/readyz").status == 200, "ready again")
        eventually(lambda: running.ask(key="writing-key").status == 200, "counting again")


def test_without_redis_it_starts_and_the_failure_modes_apply(tmp_path, config):
    with sidecar(tmp_path, config(), redis="redis://127.0.0.1:1") as running:
        reply = running.ask(key="reading-key")
        assert (reply.status, reply.headers["X-RateLimit-Degraded"]) == (200, "open")
        reply = running.ask(key="writing-key")
        assert (reply.status, reply.headers["X-RateLimit-Degraded"], reply.headers["Retry-After"]) == (503, "closed", "1")
        assert reply.json()["type"].endswith("#temporary-reduced-capacity")
        assert reply.json()["violated-policies"] == ["writes"]
        assert running.decide("take", policy="writes", subject="x").json()["degraded"] == "closed"
        assert running.manage("/readyz").status == 503


def test_a_redis_that_may_evict_counts_is_a_warning(tmp_path):
    async def started():
        async with open_backend(forgetful.url, tmp_path):
            pass

    with redis_server(options=("--maxmemory-policy", "allkeys-lru")) as forgetful, capture_logs() as lines:
        asyncio.run(started())
    assert [line["maxmemory_policy"] for line in lines] == ["allkeys-lru"]


def test_workers_reload_restart_and_do_not_outlive_their_parent(tmp_path, config, server):
    with sidecar(tmp_path, config(), "--workers", "2", redis=server.url) as running:
        (tmp_path / "limiter.yaml").write_text(config(capacity=7))
        running.send(signal.SIGHUP)

        def all_reloaded():
            return all(running.ask(key="reading-key").headers["RateLimit-Policy"].startswith('"minute";q=7;') for _ in range(20))

        eventually(all_reloaded, "the new limit on both workers")

        before = running.workers
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: len(running.workers) == 2 and before[0] not in running.workers, "another worker")
        eventually(lambda: any(line["event"].startswith("worker ended") for line in running.log), "the log line")
        eventually(lambda: running.ask(key="reading-key").status == 429, "an answer by the new limit")

        workers = running.workers
        running.process.kill()
        running.process.wait()
        eventually(lambda: not any(alive(worker) for worker in workers), "the workers' end")


def test_a_worker_restarts_with_the_last_good_configuration_while_the_file_is_invalid(tmp_path, config, server):
    """Takes about a second: the pause before the restart is 0.5 s."""
    with sidecar(tmp_path, config(capacity=7), "--workers", "2", redis=server.url) as running:
        (tmp_path / "limiter.yaml").write_text("policies: {")
        rejected = lambda: [line["worker"] for line in running.log if line["event"].startswith("changed configuration rejected")]  # noqa: E731
        eventually(lambda: sorted(rejected()) == [1, 2], "the rejection")
        before = running.workers
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: len(running.workers) == 2 and not set(before) & set(running.workers), "other workers")
        reply = eventually(lambda: answered(running), "an answer")
        assert reply.headers["RateLimit-Policy"].startswith('"minute";q=7;')
        # The new workers report the file as well.
        eventually(lambda: sorted(rejected()) == [1, 1, 2, 2], "another rejection")
        (tmp_path / "limiter.yaml").write_text(config(capacity=8))
        eventually(lambda: running.ask(key="reading-key").headers["RateLimit-Policy"].startswith('"minute";q=8;'), "the mended file")


def answered(running):
    try:
        return running.ask(key="reading-key")
    except OSError:
        return None


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
