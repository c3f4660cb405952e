"""The token of the decision API in a running sidecar: where it comes from, where it must not appear, and what a reload does."""

import json
import re
from pathlib import Path

import pytest

from support.servers.sidecar import TOKEN, ask, sidecar
from support.waiting import eventually

V1_TOKEN = "v1-token-of-the-tests"  # noqa: S105 - for sidecars of tests only
CONFIG = "policies: { standard: { limits: [5/minute] } }\nidentify: { anonymous: standard }\nredis: { prefix: PREFIX, deadline: 5s }\n"
BODY = json.dumps({"policy": "standard", "subject": "job-7"})


@pytest.fixture
def config(prefix):
    return CONFIG.replace("PREFIX", prefix)


def take(running, token=None, **headers):
    sent = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {}), **headers}
    return ask(running.front, "/v1/take", "POST", sent, BODY)


def processes(pid):
    """The process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def test_several_workers_require_the_token_and_no_process_shows_it(tmp_path, config, server):
    (tmp_path / "token").write_text(f"{V1_TOKEN}\n")
    arguments = ["--workers", "2", "--v1-token-file", str(tmp_path / "token"), "--allowed-host", "limiter.internal"]
    environment = {"LIMITER_V1_TOKEN": "another-token-in-the-environment"}
    with sidecar(tmp_path, f"{config}v1: token\n", *arguments, redis=server.url, env=environment) as running:
        for _ in range(5):
            refused = take(running)
            assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="limiter decisions"')
            assert take(running, V1_TOKEN, **{"X-Forwarded-For": "203.0.113.7", "Host": "api.example"}).status == 200
        assert take(running, "another-token-in-the-environment").status == 401

        operation = running.manage("/front/openapi.json").json()["paths"]["/v1/take"]["post"]
        assert operation["security"] == [{"v1-token": []}]
        assert ask(running.admin, "/healthz", headers={"Host": "limiter.internal"}).status == 200

        parent, *workers = processes(running.process.pid)
        assert len(workers) == 2
        for pid in (parent, *workers):
            assert V1_TOKEN not in Path(f"/proc/{pid}/cmdline").read_text()
        for pid in workers:
            assert not re.search("LIMITER_(V1|ADMIN)_TOKEN", Path(f"/proc/{pid}/environ").read_text())
        assert V1_TOKEN not in f"{running.log}{running.output}"

        (tmp_path / "limiter.yaml").write_text(f"{config}v1: off\n")
        eventually(lambda: all(take(running, V1_TOKEN).status == 404 for _ in range(10)), "the reload in both workers")
        eventually(lambda: "/v1/take" not in running.manage("/front/openapi.json").json()["paths"], "the reload in their parent")


def test_without_a_token_a_reload_to_token_is_rejected(tmp_path, config, server):
    with sidecar(tmp_path, config, redis=server.url) as running:
        (tmp_path / "limiter.yaml").write_text(f"{config}v1: token\n")
        rejected = eventually(
            lambda: [line for line in running.log if line["event"].startswith("changed configuration rejected")], "the log"
        )
        assert re.search(
            r"limiter.yaml:4: v1: token needs a token: start with LIMITER_V1_TOKEN or --v1-token-file", rejected[0]["mistakes"][0]
        )
        assert take(running).status == 200


def test_a_token_that_is_not_required_is_a_warning(tmp_path, config, server):
    with sidecar(tmp_path, config, redis=server.url, env={"LIMITER_V1_TOKEN": V1_TOKEN}) as running:
        (warning,) = eventually(lambda: [line for line in running.log if "token for /v1" in line["event"]], "the warning")
    assert (warning["level"], warning["v1"]) == ("warning", "loopback")
    assert TOKEN not in str(running.log)
