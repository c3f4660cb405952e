"""The configuration changes under load. Runs in real time, for about ten seconds."""

import itertools
import signal

from support.load import load
from support.servers.sidecar import digest, sidecar
from support.waiting import eventually

CONFIG = """
policies:
  standard: {{ limits: [{capacity}/minute, {capacity}0/hour], failure: closed }}
tiers:
  free: {{ key: standard }}
redis: {{ prefix: {prefix}, deadline: 2s }}
keys:
  - {{ name: one, digest: "sha256:{key}", tier: free }}
"""
CHANGES = 20
BROKEN = {3, 7, 8, 13, 19}


def policy_header(capacity):
    return f'"minute";q={capacity};w=60, "hour";q={capacity}0;w=3600'


def test_every_response_follows_one_of_the_two_files(tmp_path, server, prefix):
    """At 1,000 requests/s, 20 changes, 5 of them invalid: no request fails, and no response mixes two files."""
    texts = {capacity: CONFIG.format(capacity=capacity, prefix=prefix, key=digest("one-key")) for capacity in (1_000_000, 2_000_000)}
    file = tmp_path / "limiter.yaml"
    with sidecar(tmp_path, texts[1_000_000], redis=server.url) as running:
        capacities = itertools.cycle((2_000_000, 1_000_000))
        with load(url=running.front, rate=1000, seconds=8, keys=["one-key"]) as clients:
            # Wait for the first request: the load takes longer to start than all the changes take.
            with server.client() as counts:
                eventually(lambda: next(counts.scan_iter(f"{prefix}:*:standard"), None), "the first request")
            for change in range(CHANGES):
                lines = len(running.log)
                file.write_text("policies: [" if change in BROKEN else texts[next(capacities)])
                running.send(signal.SIGHUP)
                eventually(lambda lines=lines: len(running.log) > lines, "a log line about the change")
            report = clients.report()
        events = [line["event"] for line in running.log]
    assert report["lost"] == []
    assert report["refused"] == 0
    assert {status for _, _, status, _ in report["answers"]} == {200}
    assert {headers["ratelimit-policy"] for _, _, _, headers in report["answers"]} == {policy_header(capacity) for capacity in texts}
    assert sum("rejected" in event for event in events) == len(BROKEN)
    assert sum("reloaded" in event for event in events) == CHANGES - len(BROKEN)


def test_a_changed_file_is_noticed(tmp_path, server, prefix):
    text = CONFIG.format(capacity=1000, prefix=prefix, key=digest("one-key"))
    with sidecar(tmp_path, text, redis=server.url) as running:
        running.ask(key="one-key")
        (tmp_path / "limiter.yaml").write_text(text.replace("1000", "50"))
        reply = eventually(lambda: by_limit(running.ask(key="one-key"), "50"), "the new limit")
        # The request before the change still counts.
        assert int(reply.headers["X-RateLimit-Remaining"]) < 49


def by_limit(reply, capacity):
    return reply if reply.headers["X-RateLimit-Limit"] == capacity else None
