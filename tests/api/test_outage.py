"""Redis hangs while requests continue. The test runs in real time, about six seconds, because time is its subject."""

import signal
import time
from collections import Counter

import psutil

from support.load import load
from support.servers.redis_server import redis_server
from support.servers.sidecar import digest, sidecar
from support.waiting import eventually

DEADLINE = 0.05
# The promise allows this much for everything except Redis.
SLACK = 0.05
# A busy machine may add this much by suspending a process. A request that misses its deadline would hang for seconds.
STALL = 0.5
# Forty deadlines.
HUNG_S = 2

CONFIG = f"""
policies:
  reads: {{{{ limits: [1000000/minute], failure: open }}}}
  writes: {{{{ limits: [1000000/minute], failure: closed }}}}
tiers:
  reader: {{{{ key: reads }}}}
  writer: {{{{ key: writes }}}}
redis: {{{{ deadline: {round(DEADLINE * 1000)}ms }}}}
keys:
  - {{{{ name: reading, digest: "sha256:{{reading}}", tier: reader }}}}
  - {{{{ name: writing, digest: "sha256:{{writing}}", tier: writer }}}}
"""


def test_while_redis_hangs_every_request_is_answered_in_time_by_the_failure_mode_of_its_policy(tmp_path):
    """500 requests/s, alternating between a policy that fails open and one that fails closed."""
    text = CONFIG.format(reading=digest("reading-key"), writing=digest("writing-key"))
    with redis_server() as own, sidecar(tmp_path, text, redis=own.url) as running:
        with load(url=running.front, rate=500, seconds=HUNG_S + 2, keys=["reading-key", "writing-key"], connections=64) as clients:
            eventually(lambda: used(running) > 100, "load")
            own.send(signal.SIGSTOP)
            eventually(lambda: psutil.Process(own.pid).status() == psutil.STATUS_STOPPED, "Redis to stop")
            began = time.monotonic()
            time.sleep(HUNG_S)
            ended = time.monotonic()
            own.send(signal.SIGCONT)
            report = clients.report()
        before, after = used(running), running.ask(key="reading-key")
    assert report["lost"] == []
    assert report["refused"] == 0
    # A request that was in flight when Redis stopped or continued may have either result.
    hung = [answer for answer in report["answers"] if began < answer[0] < ended - DEADLINE - SLACK]
    outcomes = Counter((status, headers.get("x-ratelimit-degraded")) for _, _, status, headers in hung)
    # A sidecar that the machine suspends may shed requests.
    del outcomes[503, None]
    assert set(outcomes) == {(200, "open"), (503, "closed")}
    assert outcomes.total() > 300 * HUNG_S
    # What the machine adds at this load shows in the answers before the outage.
    healthy = [answer for answer in report["answers"] if answer[0] + answer[1] < began]
    assert worst_of_95_percent(hung) < DEADLINE + SLACK + worst_of_95_percent(healthy)
    assert max(seconds for _, seconds, _, _ in hung) < DEADLINE + SLACK + STALL + max(seconds for _, seconds, _, _ in healthy)
    assert "x-ratelimit-degraded" not in report["answers"][-1][3]
    # After the outage the next request is counted, once.
    assert after.status == 200
    assert int(after.headers["X-RateLimit-Remaining"]) == 1_000_000 - before - 1


def worst_of_95_percent(answers) -> float:
    times = sorted(seconds for _, seconds, _, _ in answers)
    return times[int(len(times) * 0.95)]


def used(running):
    (limit,) = running.decide("peek", policy="reads", subject="reading", cost=0).json()["limits"] or [{"remaining": 1_000_000}]
    return 1_000_000 - limit["remaining"]
