"""The admin listener: who may use it, the configuration, counters, and errors."""

import base64

import pytest

from support.servers.sidecar import TOKEN, ask


def basic(password):
    return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}


def test_health_requires_no_token(shared):
    assert ask(shared.admin, "/healthz").json() == {"status": "ok"}
    assert ask(shared.admin, "/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize("path", ["/policies", "/config", "/usage", "/openapi.json", "/front/openapi.json", "/nowhere", "/healthz/"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, basic(TOKEN), {"Authorization": "Basic ~"}],
)
def test_every_other_path_requires_the_token_as_bearer(shared, path, headers):
    reply = ask(shared.admin, path, headers=headers)
    assert (reply.status, reply.headers["Content-Type"]) == (401, "application/problem+json")
    assert reply.headers.get_all("WWW-Authenticate") == ['Bearer realm="limiter admin"']


def test_policies_and_config_show_what_is_in_force(shared):
    policies = {policy["name"]: policy for policy in shared.manage("/policies").json()}
    assert policies["standard"]["failure"] == "open"
    assert policies["standard"]["limits"][0] == {"name": "minute", "kind": "SlidingWindow", "capacity": 5, "seconds": 60, "shadow": False}
    assert shared.manage("/config").json()["digest"] == shared.started["config"]["digest"]


def test_usage_shows_the_counters_and_reset_deletes_them(shared, key):
    shared.ask(key=key)
    name = key.removesuffix("-secret")
    query = f"?policy=standard&subject={name}&account={name}"
    assert shared.manage(f"/usage{query}").json()["limits"][0]["remaining"] == 4
    assert shared.manage(f"/reset{query}", "POST").status == 204
    assert shared.manage(f"/usage{query}").json()["limits"][0]["remaining"] == 5


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/usage", 422),
        ("/usage?policy=nope&subject=a", 404),
        ("/usage?policy=standard&subject=a%20b", 422),
        ("/nowhere", 404),
        ("/reset", 405),
    ],
)
def test_an_error_is_a_problem(shared, path, status):
    reply = shared.manage(path)
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json")
    assert reply.json()["status"] == status


def test_a_configured_token_is_neither_printed_nor_logged(shared):
    assert TOKEN not in shared.output
    assert TOKEN not in str(shared.log)


@pytest.mark.parametrize("path", ["/readyz", "/docs/", "/policies"])
def test_a_request_by_an_unknown_name_is_refused(shared, path):
    """A web site can let its name lead to this machine, and then read what its visitors' browsers get."""
    reply = ask(shared.admin, path, headers={"Host": "evil.example:8081", "Authorization": f"Bearer {TOKEN}"})
    assert (reply.status, reply.headers["Content-Type"]) == (421, "application/problem+json")
    assert "not 'evil.example:8081': to allow a name, start with --allowed-host" in reply.json()["detail"]


@pytest.mark.parametrize("host", ["localhost", "admin.localhost:8081", "[::1]:8081", "10.0.0.7:8081"])
def test_loopback_names_and_addresses_are_answered(shared, host):
    assert ask(shared.admin, "/healthz", headers={"Host": host}).status == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_parsed(shared):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    reply = ask(shared.admin, "/accounts", "POST", headers, b'{"id": "' + b"x" * 1_000_000 + b'"}')
    assert (reply.status, reply.json()["detail"]) == (413, "The body must have at most 65,536 bytes.")
