"""Real Locust processes against real servers. The windows are short, so that a test takes seconds."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from support.locusts import LOADTESTS, command, locust
from support.proxy.raw_upstream import answering
from support.servers.provider import example
from support.servers.redis_server import free_port
from support.servers.sidecar import digest, sidecar

KEYS = [f"ff_test_{number:032}" for number in range(6)]


def config(prefix: str, *, account: list[str] | None = None, **policies: list[str]) -> str:
    """A policy and a tier for each name, with two keys of one account in each."""
    keys = [
        {"name": f"{name}-{number}", "digest": f"sha256:{digest(KEYS[2 * place + number])}", "tier": name, "account": name}
        for place, name in enumerate(policies)
        for number in range(2)
    ]
    listed = {name: {"limits": limits} for name, limits in policies.items()} | ({"account": {"limits": account}} if account else {})
    tiers = {name: {"key": name} | ({"account": "account"} if account else {}) for name in policies}
    redis = {"prefix": prefix, "deadline": "10s"}
    return json.dumps({"policies": listed, "tiers": tiers, "keys": keys, "redis": redis, "identify": {"order": ["bearer"]}})


@pytest.fixture(scope="module")
def enforcing(server, tmp_path_factory):
    """A sidecar whose tiers enforce 20 per 3 seconds, and one more than that."""
    text = config("enforcing", right=["20/3s"], raised=["21/3s"])
    with sidecar(tmp_path_factory.mktemp("enforcing"), text, redis=server.url) as running:
        yield running


@pytest.fixture
def keys(tmp_path):
    def written(*lines: str) -> str:
        (tmp_path / "keys").write_text("\n".join(lines))
        return str(tmp_path / "keys")

    return written


def options(url, keys, *more, limits="20/3s", users=2):
    """Each user sends 40 requests, however long that takes on a busy machine."""
    return ("--host", url, "--keys", keys, "--limits", limits, "--users", f"{users}", "--requests", "40", "--run-time", "100s", *more)


def test_a_sidecar_that_holds_its_limits_passes(enforcing, keys, tmp_path):
    asked = ("--forward-auth", "none", "--shape", "burst", "--max-p99", "60000")
    done = locust(tmp_path, *options(enforcing.front, keys(*KEYS[:2]), *asked))

    assert done.code == 0, done.output
    said = re.fullmatch(r"PASS: the limits were held\. (\d+) requests of 2 keys were admitted, (\d+|none) denied\.", done.last_line)
    assert said
    # A busy machine may send a burst so slowly that nothing is denied.
    denied = 0 if said[2] == "none" else int(said[2])
    assert int(said[1]) + denied == 80
    assert re.search(rf"(?m)^GET +/authorize/ +{said[1]} +0\(0\.00%\)", done.output)
    assert not denied or re.search(rf"(?m)^GET +/authorize/: over a limit +{denied} +0\(0\.00%\)", done.output)
    assert "The limits were held" in done.page
    assert KEYS[0] not in done.page + done.output


def test_a_limit_raised_by_one_fails_and_the_report_shows_the_window(enforcing, keys, tmp_path):
    done = locust(tmp_path, *options(enforcing.front, keys(*KEYS[2:4]), "--path", "/authorize/x", "--shape", "burst"))

    assert done.code == 1, done.output
    assert done.last_line.startswith("FAIL: key 1: 21 admitted within 3 s, above the limit of 20")
    assert done.page.count('class="over"') == 2
    assert "21 admitted within 3 s, above the limit of 20" in done.page


def test_denials_below_the_limits_fail_in_the_statistics_of_locust_too(enforcing, keys, tmp_path):
    """The server enforces 20 and is judged by 30, so the first denials come too early."""
    done = locust(tmp_path, *options(enforcing.front, keys(KEYS[0]), "--path", "/authorize/x", "--shape", "burst", limits="30/3s", users=1))

    assert done.code == 1, done.output
    assert re.search(r"FAIL: key 1: \d+ denials were not owed, because no limit was used up; the first after \d\.\d s", done.last_line)
    assert re.search(r"(?m)^\d+ +GET /authorize/x: over a limit: 429, but no limit was used up", done.output)


def test_the_verdict_is_over_all_workers(enforcing, keys, tmp_path):
    """Two workers share one key and send 20 requests each. The server admits 21 of them."""
    burst = ("--path", "/authorize/x", "--shape", "burst", "--requests", "20")
    done = locust(tmp_path, *options(enforcing.front, keys(KEYS[3]), *burst), workers=2)

    assert done.code == 1, done.output
    assert done.last_line.startswith("FAIL: key 1: 21 admitted within 3 s, above the limit of 20")
    assert "ended without sending" not in done.output


def test_the_limits_of_an_account_are_judged_over_its_keys(server, prefix, keys, tmp_path):
    file = keys(f"{KEYS[0]} acme", f"{KEYS[1]} acme")
    asked = ("--path", "/authorize/x", "--shape", "burst", "--account-limits")
    with sidecar(tmp_path, config(prefix, tier=["20/3s"], account=["30/3s"]), redis=server.url) as running:
        done = locust(tmp_path, *options(running.front, file, *asked, "29/3s"))

    assert done.code == 1, done.output
    assert done.last_line.startswith("FAIL: account acme: 30 admitted within 3 s, above the limit of 29")


SCOPES = {"Deframe": "positions:read", "FileForge": "files:read", "FormFlow": "forms:read", "FrameFlow": "asset:read", "Gateway": None}
TIERS = {"FileForge": "pro"}


def provider_key(provider: str, scope: str | None) -> str:
    """The part of a configuration that has one key, whose name on the wire is that of the provider."""
    key = {"name": "key", "digest": f"sha256:{digest(f'ff_live_{provider}')}", "account": "acme", "tier": TIERS.get(provider, "standard")}
    return f"keys: [{json.dumps(key | ({'scopes': [scope]} if scope else {}))}]\n"


def provider_test(folder, provider: str, url: str):
    (folder / "keys").write_text(f"ff_live_{provider} acme\n")
    asked = ("--host", url, "--keys", str(folder / "keys"), "--shape", "burst", "--requests", "150", "--users", "1")
    return locust(folder, provider, *asked, file="providers.py")


def test_the_users_of_each_provider_reach_and_do_not_exceed_its_limits(server, prefix, tmp_path):
    """Each sidecar runs the provider's example. That of the gateway is the proxy."""
    with ExitStack() as stack:
        upstream = stack.enter_context(answering())
        urls: dict[str, str] = {}
        for provider, scope in SCOPES.items():
            folder = tmp_path / provider
            folder.mkdir()
            own = f"\nredis: {{ prefix: {prefix}-{provider}, deadline: 10s }}\n{provider_key(provider, scope)}"
            proxy = () if scope else ("--upstream", upstream.url)
            running = stack.enter_context(sidecar(folder, example(provider.lower()) + own, *proxy, redis=server.url))
            urls[provider] = running.front
        with ThreadPoolExecutor() as pool:
            done = dict(zip(SCOPES, pool.map(lambda name: provider_test(tmp_path / name, name, urls[name]), SCOPES), strict=True))

    assert {name: each.last_line.partition(":")[0] for name, each in done.items()} == dict.fromkeys(SCOPES, "PASS"), [
        each.output for each in done.values() if each.code
    ]


def test_the_fixed_window_of_slowapi_fails_at_its_edge_where_a_sidecar_does_not(tmp_path):
    """Both get the same traffic, as for the picture in the documentation."""
    picture = tmp_path / "edge.svg"
    done = subprocess.run(
        [sys.executable, str(LOADTESTS / "edge.py"), "--limit", "20/3s", "--picture", str(picture)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"FAIL: key 1: (2[1-9]|3[0-9]|40) admitted within 3 s, above the limit of 20", done.stdout)
    assert "PASS: the limits were held" in done.stdout
    assert picture.read_text().count("<svg") == 3


def test_a_server_that_is_not_there_fails(keys, tmp_path):
    done = locust(tmp_path, *options(f"http://127.0.0.1:{free_port()}", keys("one")))

    assert done.code == 1
    assert re.fullmatch(r"FAIL: [\d,]+ requests? failed \(no response\), and 0 may \(1 more problem in the report\)\.", done.last_line)


def test_a_mistake_ends_locust_before_anything_is_sent():
    started = command("--headless", "--host", "http://127.0.0.1:1", "--limits", "20/3s")
    done = subprocess.run(started, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "locust: error: --keys must be a file with one API key per line" in done.stderr
