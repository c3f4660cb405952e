"""FormFlow's promises, checked over HTTP."""

import hashlib

import pytest

from support.servers.provider import example, running_provider

FORMS = "/v1/forms/7"


@pytest.fixture
def key(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    return provider.issue(account, scopes=["forms:read"])["key"]


def test_fifty_requests_pass_at_once_and_twenty_per_second_after_that(provider, clock, key):
    assert provider.statuses(50, FORMS, key) == [200] * 50
    denied = provider.call(FORMS, key)
    assert (denied.status, denied.headers["Retry-After"], denied.headers["X-RateLimit-Remaining"]) == (429, "1", "0")
    clock.advance(0.049)
    assert provider.call(FORMS, key).status == 429
    clock.advance(0.001)
    assert provider.statuses(2, FORMS, key) == [200, 429]
    clock.advance(1)
    assert provider.statuses(21, FORMS, key) == [200] * 20 + [429]


def test_no_minute_has_more_than_1200_requests(provider, clock, key):
    """The burst and the refill of one minute alone would admit 1,250."""
    statuses = provider.statuses(50, FORMS, key)
    for _ in range(58):
        clock.advance(1)
        statuses += provider.statuses(20, FORMS, key)
    assert statuses == [200] * 1200 + [429] * 10
    assert provider.call(FORMS, key).headers["X-RateLimit-Limit"] == "1200"


def test_enterprise_has_10000_requests_per_minute(provider, accounts):
    account = next(accounts)
    provider.account(account, "enterprise")
    reply = provider.call(FORMS, provider.issue(account, scopes=["forms:read"])["key"])
    assert (reply.status, reply.headers["X-RateLimit-Limit"], reply.headers["X-RateLimit-Remaining"]) == (200, "10000", "9999")


def test_the_secret_is_shown_once(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    issued = provider.issue(account, name="server")
    for path in (f"/accounts/{account}/keys", f"/accounts/{account}/keys/{issued['id']}", f"/audit?account={account}"):
        assert issued["key"].encode() not in provider.admin("GET", path).body
    assert provider.admin_json("GET", f"/accounts/{account}/keys")["keys"][0]["key_prefix"] == issued["key"][:12]


def test_an_access_token_of_another_issuer_is_imported_by_its_digest(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm5hIn0.an_access_token"  # noqa: S105 - not a real token
    assert provider.call(FORMS, token).status == 401
    digest = hashlib.sha256(token.encode()).hexdigest()
    provider.admin_json("POST", f"/accounts/{account}/keys/import", {"sha256": digest, "scopes": ["forms:read"], "lifetime": 3600})
    assert provider.call(FORMS, token).status == 200


def test_test_keys_work_only_in_the_sandbox_and_for_seven_days(provider, timed, clock, tmp_path, prefix):
    with running_provider(tmp_path, example("formflow", ("environments: [live]", "environments: [test]")), timed[0].url, prefix) as sandbox:
        for each in (provider, sandbox):
            each.account("tried", "standard")
        live, test = (sandbox.issue("tried", environment=each, scopes=["forms:read"])["key"] for each in ("live", "test"))
        in_production = provider.issue("tried", environment="test", scopes=["forms:read"])["key"]
        assert test.startswith("ff_test_")
        refused = provider.call(FORMS, in_production)
        assert (refused.status, refused.json()["reason"]) == (401, "wrong-environment")
        assert sandbox.call(FORMS, live).json()["reason"] == "wrong-environment"
        assert sandbox.call(FORMS, test).status == 200
        clock.advance(7 * 86400 - 1)
        assert sandbox.call(FORMS, test).status == 200
        clock.advance(1)
        sandbox.update_clock("tried")
        assert sandbox.call(FORMS, test).json()["reason"] == "expired-key"
        assert {each["action"] for each in provider.refusals("tried", 1)} == {"refused.environment"}


def test_a_revoked_key_is_refused_from_the_next_call_on(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    issued = provider.issue(account, scopes=["forms:read"])
    assert provider.statuses(3, FORMS, issued["key"]) == [200] * 3
    provider.admin_json("POST", f"/accounts/{account}/keys/{issued['id']}/revoke")
    refused = provider.call(FORMS, issued["key"])
    assert (refused.status, refused.json()["reason"]) == (401, "revoked-key")


def test_each_route_requires_its_scope(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    reader = provider.issue(account, scopes=["forms:read"])["key"]
    writer = provider.issue(account, scopes=["submissions:write", "webhooks:manage"])["key"]
    submissions = f"{FORMS}/submissions"
    asked = [("GET", FORMS), ("POST", FORMS), ("POST", submissions), ("GET", submissions), ("POST", "/v1/webhooks")]
    assert [provider.call(path, reader, method=method).status for method, path in asked] == [200, 403, 403, 403, 403]
    assert [provider.call(path, writer, method=method).status for method, path in asked] == [403, 403, 200, 403, 200]


def test_a_key_can_be_bound_to_addresses_and_released_later(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    issued = provider.issue(account, scopes=["forms:read"])
    path = f"/accounts/{account}/keys/{issued['id']}"
    assert provider.call(FORMS, issued["key"]).status == 200
    provider.admin_json("PATCH", path, {"addresses": ["198.51.100.7"]})
    assert [provider.call(FORMS, issued["key"], address=each).status for each in ("198.51.100.7", "198.51.100.8")] == [200, 403]
    provider.admin_json("PATCH", path, {"addresses": []})
    assert provider.call(FORMS, issued["key"]).status == 200


def test_creation_rotation_and_refused_attempts_are_in_the_audit(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    first = provider.issue(account, scopes=["forms:read"])
    second = provider.admin_json("POST", f"/accounts/{account}/keys/{first['id']}/rotate", {})
    assert provider.call(FORMS, first["key"]).status == 401
    assert provider.call(FORMS, second["key"]).status == 200
    entries = provider.admin_json("GET", f"/audit?account={account}")["entries"]
    assert [(each["action"], each["actor"]) for each in entries] == [
        ("keys.rotate", "admin"),
        ("keys.issue", "admin"),
        ("accounts.create", "admin"),
    ]
    assert provider.refusals(account, 1)[0]["action"] == "refused.revoked"
