"""A wrong user, password or permission in Redis does not end by itself: it is logged as an error, and the sidecar is not ready."""

import pytest
from structlog.testing import capture_logs

from limiter.api.outages import Outages
from support.servers.redis_server import redis_server
from support.servers.sidecar import sidecar
from support.waiting import eventually

CONFIG = "policies: { standard: { limits: [1000/minute] } }\nidentify: { anonymous: standard }\nredis: { deadline: 5s }\n"


@pytest.fixture(scope="module")
def own():
    with redis_server() as running, running.client() as client:
        client.execute_command("ACL", "SETUSER", "limits", "on", ">secret-word", "~*", "+@all")
        yield running, client


def errors(running):
    return [line for line in running.log if line["event"].startswith("Redis denies access")]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_wrong_password_is_an_error_at_the_start_and_requests_follow_the_failure_mode(tmp_path, own, workers):
    url = own[0].url.replace("://", "://limits:wrong-word@")
    with sidecar(tmp_path, CONFIG, "--workers", workers, redis=url) as running:
        assert ("error", "WRONGPASS" in errors(running)[0]["reason"]) == (errors(running)[0]["level"], True)
        assert (running.ask().status, running.ask().headers["X-RateLimit-Degraded"]) == (200, "open")
        eventually(lambda: len(errors(running)) > 1, "the error of a decision")
        reply = running.manage("/readyz")
        assert (reply.status, "WRONGPASS" in reply.json()["detail"]) == (503, True)
        assert "wrong-word" not in f"{running.log}{reply.body}"


@pytest.mark.parametrize("missing", ["evalsha", "set"])
def test_a_permission_that_is_withdrawn_is_seen_until_it_is_back(tmp_path, own, prefix, missing):
    server, client = own
    with sidecar(
        tmp_path, CONFIG.replace("deadline", f"prefix: {prefix}, deadline"), redis=server.url.replace("://", "://limits:secret-word@")
    ) as running:
        assert (running.manage("/readyz").status, running.ask().status, errors(running)) == (200, 200, [])
        client.execute_command("ACL", "SETUSER", "limits", f"-{missing}", "-setrange")
        try:
            assert running.ask(headers={"X-Forwarded-For": "203.0.113.7"}).headers["X-RateLimit-Degraded"] == "open"
            (line,) = eventually(lambda: errors(running), "the error")
            assert line["level"] == "error"
            reply = eventually(lambda: (found := running.manage("/readyz")).status == 503 and found, "not ready")
            assert "Redis denies access" in reply.json()["detail"]
        finally:
            client.execute_command("ACL", "SETUSER", "limits", "+@all")
        eventually(lambda: running.manage("/readyz").status == 200, "ready again")
        assert "X-RateLimit-Degraded" not in running.ask().headers


def test_an_outage_that_turns_into_a_denial_is_logged_once_more():
    outages = Outages()
    with capture_logs() as lines:
        for reason in ("", "timeout", "timeout", "Redis denies access: NOAUTH", "timeout", "Redis denies access: NOAUTH", "", ""):
            outages.note(reason)
    assert [line["log_level"] for line in lines] == ["warning", "error", "info"]
