"""Clients that wait as the headers say succeed. They sleep in real time, so the windows are a few seconds long."""

import json
import subprocess
import time

import http_sf
import pytest
import urllib3

from support.servers.sidecar import digest, sidecar

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


def test_the_request_after_a_hundred_passes_once_retry_after_is_over(running):
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


def test_urllib3_waits_for_retry_after_and_succeeds(running):
    retries = urllib3.Retry(total=2, status_forcelist=[429], respect_retry_after_header=True)
    with urllib3.PoolManager(headers={"Authorization": "Bearer pooled-key"}) as pool:
        replies = [pool.request("GET", f"{running.front}/authorize", retries=retries) for _ in range(3)]
    assert [reply.status for reply in replies] == [200] * 3
    assert [len(reply.retries.history) for reply in replies] == [0, 0, 1]


def sdk(ask, tries=3):
    """The retry loop of the SDKs that OpenAI, Anthropic and others generate."""
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


def test_an_sdk_waits_for_retry_after_ms_and_succeeds(running):
    outcomes = [sdk(lambda: running.ask(key="sdk-key")) for _ in range(3)]
    assert [reply.status for reply, _ in outcomes] == [200] * 3
    assert [len(pauses) for _, pauses in outcomes] == [0, 0, 1]


def test_an_sdk_gives_up_if_x_should_retry_is_false(running):
    assert sdk(lambda: running.ask(key="long-key"))[0].status == 200
    reply, pauses = sdk(lambda: running.ask(key="long-key"))
    assert (reply.status, pauses) == (429, [])
