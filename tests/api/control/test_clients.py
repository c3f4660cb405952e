"""Real clients obey us. In real time, since they sleep for real: a window of two seconds."""

import json
import subprocess
import time

import http_sf
import pytest
import urllib3

from support.sidecar import digest, sidecar

CONFIG = """
policies:
  hundred: {{ limits: [100/5s], failure: open }}
  brief: {{ limits: [2/2s], failure: open }}
  long: {{ limits: [1/hour], failure: open }}
tiers:
  tried: {{ key: hundred }}
  brief: {{ key: brief }}
  long: {{ key: long }}
headers: {{ retry_after_ms: true, should_retry: true }}
redis: {{ prefix: {prefix} }}
keys:
  - {{ name: tried, digest: "sha256:{tried}", tier: tried }}
  - {{ name: pooled, digest: "sha256:{pooled}", tier: brief }}
  - {{ name: sdk, digest: "sha256:{sdk}", tier: brief }}
  - {{ name: long, digest: "sha256:{long}", tier: long }}
"""


@pytest.fixture(scope="module")
def running(server, tmp_path_factory):
    text = CONFIG.format(prefix="clients", **{name: digest(f"{name}-key") for name in ("tried", "pooled", "sdk", "long")})
    with sidecar(tmp_path_factory.mktemp("clients"), text, redis=server.url) as running:
        yield running


def curl(*arguments):
    return subprocess.run(["/usr/bin/env", "curl", "--silent", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def test_a_hundred_pass_and_the_next_one_waits_as_it_is_told(running):
    key = "Authorization: Bearer tried-key"
    passed = curl("-H", key, "-w", "%{http_code} ", f"{running.front}/authorize?n=[1-100]")
    assert passed.split() == ["200"] * 100

    head, _, body = curl("-i", "-H", key, f"{running.front}/authorize").partition("\n\n")
    status, *lines = head.replace("\r", "").partition("\n\n")[0].splitlines()
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert status == "HTTP/1.1 429 Too Many Requests"
    assert http_sf.parse(headers["ratelimit-policy"].encode(), tltype="list") == [("5s", {"q": 100, "w": 5})]
    ((name, state),) = http_sf.parse(headers["ratelimit"].encode(), tltype="list")
    assert (name, state["r"], str(state["t"])) == ("5s", 0, headers["retry-after"])
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"], headers["cache-control"]) == ("100", "0", "no-store")
    assert json.loads(body)["violated-policies"] == ["5s"]

    time.sleep(int(headers["retry-after"]))
    assert curl("-H", key, "-w", "%{http_code}", f"{running.front}/authorize") == "200"


def test_urllib3_waits_as_told_and_succeeds(running):
    retries = urllib3.Retry(total=2, status_forcelist=[429], respect_retry_after_header=True)
    with urllib3.PoolManager(headers={"Authorization": "Bearer pooled-key"}) as pool:
        replies = [pool.request("GET", f"{running.front}/authorize", retries=retries) for _ in range(3)]
    assert [reply.status for reply in replies] == [200] * 3
    assert [len(reply.retries.history) for reply in replies] == [0, 0, 1]


def generated_client(ask, tries=3):
    """The loop of the SDKs that OpenAI, Anthropic and others have generated: how they read our headers."""
    pauses = []
    for _ in range(tries):
        reply = ask()
        if reply.status < 400 or reply.headers["x-should-retry"] == "false":
            break
        pause = float(reply.headers["retry-after-ms"]) / 1000
        assert 0 < pause <= 60
        pauses.append(pause)
        time.sleep(pause)
    return reply, pauses


def test_a_generated_client_waits_as_told_and_succeeds(running):
    outcomes = [generated_client(lambda: running.ask(key="sdk-key")) for _ in range(3)]
    assert [reply.status for reply, _ in outcomes] == [200] * 3
    assert [len(pauses) for _, pauses in outcomes] == [0, 0, 1]


def test_a_generated_client_gives_up_where_the_wait_is_long(running):
    assert generated_client(lambda: running.ask(key="long-key"))[0].status == 200
    reply, pauses = generated_client(lambda: running.ask(key="long-key"))
    assert (reply.status, pauses) == (429, [])
