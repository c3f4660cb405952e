"""The registry's keys on a running sidecar: what a request costs, what is stored and logged, and which rules apply."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from hashlib import sha1

import pytest

from limiter.api.registry.store import script_source
from support.servers.provider import Provider
from support.servers.redis_server import RedisServer, redis_server
from support.servers.sidecar import digest, sidecar
from support.waiting import eventually

CONFIG = """
policies:
  reads: {{ limits: [{capacity}/minute] }}
  account: {{ limits: [1000000/minute] }}
tiers:
  reader: {{ key: reads, account: account }}
  {more}
identify: {{ trusted_proxies: [127.0.0.1] }}
routes:
  - {{ path: /health, exempt: true }}
  - {{ path: /write, scope: "files:write" }}
redis: {{ prefix: lim, deadline: 5s }}
keys:
  - {{ name: of-the-file, digest: "sha256:{digest}", tier: reader }}
"""
FILE_KEY = "sk-fixed-3f9a1c77d20b"


def config(capacity=1_000_000, more=""):
    return CONFIG.format(capacity=capacity, more=more, digest=digest(FILE_KEY))


@pytest.fixture(scope="module")
def own_redis():
    """Serves only these tests, and writes every change to its log as plain text."""
    with redis_server(append_only=True, options=("--rdbcompression", "no")) as running:
        yield running


@pytest.fixture
def running(tmp_path, own_redis: RedisServer):
    with own_redis.client() as client:
        client.flushall()
    with sidecar(tmp_path, config(), "--access-log", redis=own_redis.url) as started:
        yield Provider(started)


@pytest.fixture
def reload(running, tmp_path):
    """Writes another configuration, and waits until it is in force."""

    def reload(**changes):
        before = running.admin_json("GET", "/config")["digest"]
        (tmp_path / "limiter.yaml").write_text(config(**changes))
        running.sidecar.send(signal.SIGHUP)
        eventually(lambda: running.admin_json("GET", "/config")["digest"] != before, "the new configuration")

    return reload


def test_a_request_with_a_remembered_key_is_one_call_to_redis(running, own_redis):
    """The call checks the generation, and the limits of the key and the account. MONITOR counts the calls of 50 requests."""
    running.account("acme", "reader")
    key = running.issue("acme")["key"]
    assert running.call("/", key).status == 200
    flushing = sha1(script_source("used").encode()).hexdigest()  # noqa: S324 - Redis's name for a script
    with own_redis.client() as client, client.monitor() as monitor:
        assert running.statuses(50, "/", key) == [200] * 50
        client.echo("the end")
        sent = []
        for command in monitor.listen():
            if command["command"] == "ECHO the end":
                break
            # The test's own client sends HELLO.
            if command["client_type"] != "lua" and flushing not in command["command"] and "HELLO" not in command["command"]:
                sent.append(command["command"].split()[0])
    assert Counter(sent) == {"EVALSHA": 50}


def test_malformed_keys_are_not_looked_up_and_leave_only_the_count_of_their_address_as_unknown_ones_do(running, own_redis):
    running.account("acme", "reader")
    key = running.issue("acme")["key"]
    with own_redis.client() as client:
        before = client.dbsize()
        client.config_resetstat()
        for wrong in (key[:-1] + "1", "ff_live_", "ff_test_" + key[8:], "x" * 600):
            assert running.call("/", wrong).status == 401
        assert "cmdstat_get" not in client.info("commandstats")
        assert running.call("/", "a-foreign-key-that-nobody-has").status == 401
        # By the decision about the attempt, which a key that exists rejects.
        assert client.info("commandstats")["cmdstat_get"]["calls"] == 1
        assert client.dbsize() == before + 1


def test_no_raw_key_is_stored_logged_or_answered(running, own_redis, tmp_path):
    """Does everything that can be done to keys and with them, then searches every place."""
    heard = []

    def heard_from(reply):
        heard.append(reply.body)
        heard.append(str(reply.headers).encode())
        return reply

    running.account("acme", "reader")
    first = running.issue("acme", name="first", scopes=["files:write"], addresses=["203.0.113.0/24"])
    path = f"/accounts/acme/keys/{first['id']}"
    second = running.admin_json("POST", f"{path}/rotate", {"overlap": 60})
    foreign = "sk-a-foreign-key-of-some-length"
    running.admin_json("POST", "/accounts/acme/keys/import", {"key": foreign})
    secrets = [first["key"], second["key"], foreign, FILE_KEY]
    wrong = [first["key"][:-1], first["key"] + "x", "invented-by-an-attacker", "ff_live_" + "q" * 32, "z" * 10_000]
    for key in secrets + wrong:
        for where in ({"key": key}, {"headers": {"X-API-Key": key}}, {"address": "203.0.113.1", "key": key}):
            heard_from(running.call("/write", **where))
        heard_from(running.call(f"/write?api_key={key}", key))
        heard_from(running.admin("GET", f"/accounts/acme/keys/{key}"))
        # Only text that looks like an issued key is known not to be an account.
        if key.startswith("ff_"):
            heard_from(running.admin("GET", f"/accounts/{key}"))
            heard_from(running.admin("POST", "/accounts", {"id": key, "tier": "reader"}))
        heard_from(running.admin("POST", "/keys/find", {"key": key}))
        heard_from(running.admin("POST", "/accounts/acme/keys/import", {"key": key, "scopes": "no list"}))
    for asked in ("/audit", "/audit?refused=true", "/accounts/acme/keys", "/metrics", "/policies", "/config"):
        heard_from(running.admin("GET", asked))
    running.admin_json("POST", f"{path}/revoke")
    heard_from(running.call("/", first["key"]))
    running.refusals("acme", 1)
    running.sidecar.stop()
    with own_redis.client() as client:
        client.save()
    kept = b"".join(file.read_bytes() for file in own_redis.folder.rglob("*") if file.is_file())
    assert first["id"].encode() in kept, "the search finds what is stored"
    logged = (tmp_path / "log").read_bytes() + (tmp_path / "output").read_bytes()
    for secret in (*secrets, *wrong):
        for place, text in (("Redis", kept), ("the log", logged), ("an answer", b"".join(heard))):
            assert secret.encode() not in text, f"{secret[:12]}… is in {place}"
            assert secret[12:].encode() not in text, f"the rest of {secret[:12]}… is in {place}"


def test_invalid_input_is_refused_with_a_reason_and_changes_nothing(running, own_redis):
    running.account("acme", "reader")
    key = running.issue("acme", scopes=["files:write"])
    gone = running.issue("acme")
    path = "/accounts/acme/keys"
    running.admin_json("POST", f"{path}/{gone['id']}/revoke")
    before = running.admin_json("GET", path)["keys"]
    with own_redis.client() as client:
        size = client.dbsize()
        for method, asked, body, status, said in [
            ("POST", path, {"scopes": ["file:write"]}, 422, "file:write"),
            ("PATCH", f"{path}/{key['id']}", {"name": "new", "scopes": ["nonsense"]}, 422, "nonsense"),
            ("PATCH", f"{path}/{key['id']}", {"name": "new", "addresses": ["203.0.113.0/33"]}, 422, "203.0.113.0/33"),
            ("PATCH", f"{path}/{key['id']}", {"name": "new", "addresses": ["203.0.113.7/24"]}, 422, "did you mean"),
            ("PATCH", f"{path}/{key['id']}", {"name": "new", "policy": "none-such"}, 422, "none-such"),
            ("POST", f"{path}/{gone['id']}/rotate", {}, 409, "revoked"),
            ("PATCH", "/accounts/acme", {"tier": "raeder"}, 422, "reader"),
            ("POST", "/accounts", {"id": "globex", "tier": "none-such"}, 422, "none-such"),
            ("DELETE", "/accounts/acme", None, 409, "has keys"),
            ("POST", f"{path}/import", {"key": "k" * 10_000}, 422, "512"),
        ]:
            reply = running.admin(method, asked, body)
            assert (reply.status, said in reply.json()["detail"]) == (status, True), reply.body
        assert client.dbsize() == size
    assert running.admin_json("GET", path)["keys"] == before
    assert running.call("/write", key["key"]).status == 200
    for wrong in ("k" * 10_000, "ff_live_", "ff_live_" + "0" * 32, "a\tb", "\xe9"):
        assert running.call("/", wrong).status == 401


def test_a_key_of_the_file_takes_precedence_over_the_registry(running):
    running.account("acme", "reader")
    running.admin_json("POST", "/accounts/acme/keys/import", {"key": FILE_KEY})
    reply = running.call("/", FILE_KEY)
    assert reply.status == 200
    assert running.admin_json("GET", "/usage?policy=reads&subject=of-the-file")["limits"][0]["remaining"] == 999_999


def test_a_reload_changes_the_limits_of_remembered_keys(running, reload):
    running.account("acme", "reader")
    key = running.issue("acme")["key"]
    assert running.call("/", key).headers["X-RateLimit-Limit"] == "1000000"
    reload(capacity=2)
    assert [running.call("/", key).status for _ in range(2)] == [200, 429]


def test_keys_of_a_tier_that_is_no_longer_configured_are_refused_until_it_is_back(running, reload):
    reload(more="trial: { key: reads }")
    running.account("acme", "trial")
    key = running.issue("acme")["key"]
    assert running.call("/", key).status == 200
    reload()
    refused = running.call("/", key)
    assert (refused.status, refused.json()["reason"]) == (403, "not-configured")
    assert [line["missing"] for line in running.sidecar.log if "missing" in line] == ["tier 'trial'"]
    reload(more="trial: { key: reads }")
    assert running.call("/", key).status == 200


def test_an_exempt_route_ignores_the_key(running):
    assert [running.call("/health", key).status for key in (None, "nonsense")] == [200, 200]


def test_keys_issued_with_another_pepper_are_unknown(tmp_path, server, prefix):
    text = config().replace("prefix: lim", f"prefix: {prefix}")
    keys = []
    for pepper in ("one-pepper-of-some-length", "another-pepper-as-long"):
        with sidecar(tmp_path, text, redis=server.url, env={"LIMITER_PEPPER": pepper}) as started:
            running = Provider(started)
            running.account(f"acme-{len(keys)}", "reader")
            keys.append(running.issue(f"acme-{len(keys)}")["key"])
            assert [running.call("/", key).status for key in keys] == [401] * (len(keys) - 1) + [200]
    with server.client() as client:
        pointers = client.keys(f"{prefix}:key:*")
    assert len(pointers) == 2
    assert not any(json.dumps(digest(key)).encode() in b"".join(pointers) for key in keys)


def test_the_command_line_uses_the_configuration(running, own_redis, tmp_path):
    """The commands use its Redis and its prefix, and check names against it."""

    def limiter(*arguments):
        command = [sys.executable, "-P", "-m", "limiter.api.cli.main", *arguments, "--config", tmp_path / "limiter.yaml", "--json"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LIMITER_")}
        return subprocess.run([*command, "--redis", own_redis.url], capture_output=True, text=True, env=environment, check=False)

    assert limiter("accounts", "create", "acme", "reader").returncode == 0
    unknown = limiter("accounts", "create", "globex", "raeder")
    assert (unknown.returncode, "(reader)" in unknown.stderr) == (2, True)
    key = json.loads(limiter("keys", "issue", "acme").stdout)
    assert running.call("/", key["key"]).status == 200
    assert limiter("keys", "revoke", "acme", key["id"]).returncode == 0
    assert running.call("/", key["key"]).status == 401
    entries = json.loads(limiter("audit", "--account", "acme").stdout)["entries"]
    assert [each["action"] for each in entries] == ["keys.revoke", "keys.issue", "accounts.create"]
    assert entries[0]["actor"].startswith("cli:")


def test_serve_does_not_start_with_a_short_pepper(tmp_path):
    command = [sys.executable, "-P", "-m", "limiter.api.cli.main", "serve", "--port", "0", "--admin-port", "0"]
    command += ["--redis", "redis://127.0.0.1:1"]
    environment = {**os.environ, "LIMITER_PEPPER": "short"}
    ended = subprocess.run([*command, "--data", tmp_path], capture_output=True, text=True, env=environment, check=False, timeout=30)
    assert (ended.returncode, "LIMITER_PEPPER" in ended.stderr) == (2, True)
    assert "Traceback" not in ended.stderr
