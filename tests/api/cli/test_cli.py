"""The command line: its messages and exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from support.certificates import make_pair
from support.servers.sidecar import TOKEN, sidecar
from support.waiting import eventually

GOOD = "policies:\n  standard: { limits: [5/minute] }\ntiers:\n  free: { key: standard }\n"


def limiter(*arguments, **environment):
    command = [sys.executable, "-P", "-m", "limiter.api.cli.main", *map(str, arguments)]
    env = {name: value for name, value in os.environ.items() if name != "LIMITER_REDIS_URL"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**env, **environment})


def test_without_options_a_sample_is_served_and_its_counts_survive_a_restart(tmp_path):
    with sidecar(tmp_path, env={"LIMITER_ADMIN_TOKEN": ""}) as running:
        assert running.started["redis"]["where"].startswith("embedded, data in ")
        line, *_ = eventually(lambda: [line for line in running.output.splitlines() if line.startswith("  curl -i")], "the greeting")
        key = (tmp_path / "data/sample-key").read_text().strip()
        token = (tmp_path / "data/admin-token").read_text().strip()
        assert running.manage("/policies", token=token).status == 200
        # Standard output is not a terminal here, so it names the files of secrets instead.
        assert f"Admin token: in the file {tmp_path}/data/admin-token" in running.output
        assert not [secret for secret in (key, token) if secret in running.output]
        answered = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
        assert answered.stdout.startswith("HTTP/1.1 200 OK")
        remaining = int(running.ask(key=key).headers["X-RateLimit-Remaining"])

        second = limiter("serve", "--port", "0", "--admin-port", "0", "--data", tmp_path / "data")
        assert second.returncode == 1
        assert "another limiter uses the data folder" in second.stderr

        usage = json.loads(limiter("usage", "--policy", "standard", "--subject", "sample", "--data", tmp_path / "data", "--json").stdout)
        assert usage[0]["remaining"] == remaining
        # The signal of Ctrl-C.
        running.send(signal.SIGINT)
        assert running.process.wait(20) == 0
        assert key not in json.dumps(running.log)
        assert key not in (tmp_path / "data" / "redis.log").read_text()

    with sidecar(tmp_path, env={"LIMITER_ADMIN_TOKEN": ""}) as running:
        assert running.manage("/policies", token=token).status == 200
        assert int(running.ask(key=key).headers["X-RateLimit-Remaining"]) == remaining - 1
        assert limiter("reset", "--policy", "standard", "--subject", "sample", "--data", tmp_path / "data").returncode == 0
        assert running.ask(key=key).headers["X-RateLimit-Remaining"] == "99"

        # A killed sidecar cannot stop its Redis. The next one takes the data over.
        running.process.kill()
        running.process.wait()
    with sidecar(tmp_path) as running:
        assert running.ask(key=key).headers["X-RateLimit-Remaining"] == "98"


def test_init_writes_a_valid_file_and_overwrites_nothing(tmp_path):
    file = tmp_path / "limiter.yaml"
    next_steps = limiter("init", file).stdout.splitlines()[1:]
    assert [step.split()[:2] for step in next_steps] == [["limiter", "validate"], ["limiter", "serve"]]
    assert f"limiter serve --config {file}" in limiter("validate", file).stdout
    again = limiter("init", file)
    assert (again.returncode, "already exists" in again.stderr) == (2, True)


def test_validate_names_the_file_the_line_and_the_field(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("policies:\n  standard: { limits: [5/fortnight] }\ncolour: red\n")
    plain, as_json = limiter("validate", file), limiter("validate", file, "--json")
    assert (plain.returncode, as_json.returncode) == (2, 2)
    assert f"{file}:2: policies.standard.limits[0]" in plain.stderr
    assert f"{file}:3: colour" in plain.stderr
    assert len(json.loads(as_json.stdout)["mistakes"]) == 2


def test_v1_token_without_a_token_is_a_mistake_at_the_start_and_a_warning_before(tmp_path):
    file = tmp_path / "limiter.yaml"
    file.write_text(f"{GOOD}v1: token\n")
    ended = limiter("serve", "--port", "0", "--admin-port", "0", "--config", file, "--redis", "redis://127.0.0.1:1")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{file}:5: v1: token needs a token: start with LIMITER_V1_TOKEN or --v1-token-file" in ended.stderr
    plain, as_json = limiter("validate", file), limiter("validate", file, "--json")
    assert (plain.returncode, "v1: token needs a token" in plain.stderr) == (0, True)
    assert "v1: token needs a token" in json.loads(as_json.stdout)["warnings"][0]
    assert limiter("validate", file, LIMITER_V1_TOKEN=TOKEN).stderr == ""

    weak_token = "guess-me"  # noqa: S105 - for this test only
    weak = limiter("serve", "--config", file, LIMITER_V1_TOKEN=weak_token)
    assert (weak.returncode, weak_token in weak.stderr) == (2, False)
    assert "LIMITER_V1_TOKEN must have 16 to 512 printable ASCII characters without spaces, not 8 characters" in weak.stderr


def taken_port():
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--redis", "http://example"], 2, "Redis URL"),
        (["--config", "nowhere.yaml"], 2, "nowhere.yaml"),
        (["--host", "no.such.host.invalid"], 2, "'no.such.host.invalid' is not an address"),
        (["--tls-cert", "x.pem"], 2, "--tls-cert and --tls-key must be set together"),
        (["--tls-cert", "x.pem", "--tls-key", "x.pem"], 2, "cannot be used"),
        (["--admin-token-file", "nowhere"], 2, "cannot be read"),
        (["--workers", "0"], 2, "--workers"),
        (["--upstream", "ftp://example"], 2, "ftp"),
    ],
)
def test_invalid_options_are_reported_without_a_traceback(tmp_path, arguments, code, said):
    ended = limiter("serve", "--port", "0", "--admin-port", "0", "--data", tmp_path, *arguments)
    assert "Traceback" not in ended.stderr
    assert (ended.returncode, said in ended.stderr) == (code, True), ended.stderr


def test_a_taken_port_is_reported(tmp_path):
    listener, port = taken_port()
    with listener:
        ended = limiter("serve", "--port", port, "--data", tmp_path)
    assert (ended.returncode, f"port {port} on 127.0.0.1 is in use" in ended.stderr) == (1, True)


def test_the_counts_of_refused_requests_have_a_policy_where_the_file_names_none(tmp_path, server, prefix):
    """Its name is the one that the configuration uses for it."""
    file = tmp_path / "limiter.yaml"
    file.write_text(f"{GOOD}redis: {{ prefix: {prefix}, url: '{server.url}', deadline: 10s }}\n")
    with sidecar(tmp_path, file.read_text()) as running:
        assert running.ask(key="an-invented-key-of-nobody").status == 401
        of_guard = ("--policy", "identify.guard", "--subject", "127.0.0.1", "--config", file)
        (left,) = json.loads(limiter("usage", *of_guard, "--json").stdout)
        assert (left["remaining"], left["capacity"]) == (99, 100)
        assert running.manage("/usage?policy=identify.guard&subject=127.0.0.1").json()["limits"][0]["remaining"] == 99
        assert limiter("reset", *of_guard).returncode == 0
        unused = limiter("usage", *of_guard)
    assert unused.stdout == "minute: 100 of 100 left\n"
    assert "Nothing is counted for 127.0.0.1 under identify.guard." in unused.stderr


def test_counts_without_a_configuration_are_an_error_that_names_the_option(tmp_path):
    ended = limiter("usage", "--policy", "standard", "--subject", "x", "--data", tmp_path)
    assert (ended.returncode, "must be set with --config or LIMITER_CONFIG" in ended.stderr) == (2, True)


def test_a_gateway_has_no_effect_in_front_of_an_upstream_and_is_a_warning(tmp_path, server, prefix):
    config = f"{GOOD}identify: {{ gateway: forwarded, trusted_proxies: [127.0.0.1] }}\nredis: {{ prefix: {prefix} }}\n"
    with sidecar(tmp_path, config, "--upstream", "http://127.0.0.1:9", redis=server.url) as running:
        eventually(lambda: [line for line in running.log if line["event"].startswith("identify.gateway has no effect")], "the warning")


def test_a_missing_redis_server_is_reported(tmp_path):
    ended = limiter("serve", "--port", "0", "--admin-port", "0", "--data", tmp_path, PATH="/nonexistent")
    assert (ended.returncode, "redis-server is not on PATH" in ended.stderr) == (1, True)
    assert "Traceback" not in ended.stderr


def test_an_unreachable_redis_is_reported(tmp_path):
    file = tmp_path / "limiter.yaml"
    file.write_text(GOOD)
    ended = limiter("usage", "--policy", "standard", "--subject", "x", "--config", file, "--redis", "redis://127.0.0.1:1")
    assert (ended.returncode, "cannot connect to Redis" in ended.stderr) == (1, True)
    assert "Traceback" not in ended.stderr
    unknown = limiter("reset", "--policy", "nope", "--subject", "x", "--config", file)
    assert (unknown.returncode, "--policy must be one of identify.guard, standard, not 'nope'" in unknown.stderr) == (2, True)
    assert f"{file} defines them" in unknown.stderr


def test_the_front_terminates_tls(tmp_path, server):
    cert, key = make_pair(tmp_path, "localhost")
    config = GOOD + "transport: { require_tls: true }\nidentify: { anonymous: standard }\n"
    with sidecar(tmp_path, config, "--tls-cert", str(cert), "--tls-key", str(key), redis=server.url) as running:
        answered = subprocess.run(
            [
                "/usr/bin/env",
                "curl",
                "-s",
                "-i",
                "--cacert",
                cert,
                "--resolve",
                f"localhost:{running.port}:127.0.0.1",
                f"https://localhost:{running.port}/authorize",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        assert answered.stdout.startswith("HTTP/1.1 200 OK")
        old = subprocess.run(["/usr/bin/env", "curl", "-s", "-k", "--tls-max", "1.1", running.front], check=False, capture_output=True)
        assert old.returncode != 0


def test_plaintext_is_refused_where_tls_is_required(tmp_path, server):
    config = GOOD + "transport: { require_tls: true }\nidentify: { anonymous: standard, trusted_proxies: [127.0.0.1] }\n"
    with sidecar(tmp_path, config, redis=server.url) as running:
        refused = running.ask()
        assert (refused.status, refused.json()["reason"]) == (403, "plaintext")
        assert running.ask(headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.44"}).status == 200
        assert running.ask(headers={"X-Forwarded-Proto": "http"}).status == 403


def test_the_access_log_contains_no_secrets(tmp_path, server):
    config = GOOD + "identify: { anonymous: standard }\n"
    with sidecar(tmp_path, config, "--access-log", redis=server.url) as running:
        running.ask("/authorize/x?key=secret", headers={"X-Forwarded-For": "203.0.113.45"})
        (line,) = eventually(lambda: [line for line in running.log if line["event"] == "request"], "the line")
    assert (line["method"], line["path"], line["status"], line["peer"]) == ("GET", "/authorize/x", 200, "127.0.0.1")
    assert "secret" not in json.dumps(line)
