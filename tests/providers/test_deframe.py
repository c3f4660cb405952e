"""Deframe's promises, checked over HTTP."""

import pytest

POSITIONS = "/v1/positions/7"


def sent(key, **headers):
    return {"X-API-Key": key, **headers}


@pytest.fixture
def issued(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    return provider.issue(account, scopes=["positions:read"])


def statuses(provider, count, key):
    return provider.statuses(count, POSITIONS, headers=sent(key))


def test_a_key_has_100_requests_per_minute_and_1000_per_hour(provider, clock, issued):
    for _ in range(10):
        assert statuses(provider, 100, issued["key"]) == [200] * 100
        denied = provider.call(POSITIONS, headers=sent(issued["key"]))
        assert denied.status == 429
        clock.advance(60)
    # The hour did not count the 101st request of each minute, so all 1,000 were admitted.
    denied = provider.call(POSITIONS, headers=sent(issued["key"]))
    assert (denied.status, denied.json()["violated-policies"]) == (429, ["hour"])
    assert denied.headers["RateLimit"].startswith('"minute";r=100;')
    # Ten minutes have passed. A burst is available again up to 1/128 of the hour late.
    clock.advance(int(denied.headers["Retry-After"]))
    assert provider.call(POSITIONS, headers=sent(issued["key"])).status == 200
    assert 3000 <= int(denied.headers["Retry-After"]) <= 3000 + 3600 / 128 + 1


def test_each_key_has_its_own_limits(provider, issued):
    account = issued["account"]
    other = provider.issue(account, scopes=["positions:read"])["key"]
    assert statuses(provider, 101, issued["key"])[-1] == 429
    assert statuses(provider, 1, other) == [200]


def test_only_x_api_key_is_used(provider, issued):
    assert provider.call(POSITIONS, issued["key"]).json()["reason"] == "no-credential"
    assert provider.call(POSITIONS, "nonsense", headers=sent(issued["key"])).status == 200


@pytest.mark.parametrize(
    ("path", "method", "status"), [(POSITIONS, "GET", 200), ("/v1/strategies", "GET", 403), ("/v1/transactions", "POST", 403)]
)
def test_each_endpoint_requires_its_scope(provider, issued, path, method, status):
    assert provider.call(path, method=method, headers=sent(issued["key"])).status == status


def test_every_decision_has_the_limit_headers(provider, issued):
    replies = [provider.call(POSITIONS, headers=sent(issued["key"])) for _ in range(101)]
    assert [int(reply.headers["X-RateLimit-Remaining"]) for reply in replies] == [*range(99, -1, -1), 0]
    for reply in replies:
        assert reply.headers["RateLimit-Policy"] == '"minute";q=100;w=60, "hour";q=1000;w=3600'
        assert reply.headers["X-RateLimit-Reset"]
    for method, path in (("GET", "/v1/strategies"), ("POST", "/v1/transactions")):
        reply = provider.call(path, method=method, headers=sent(issued["key"]))
        # A refused request has the numbers of the attempts, which it is counted by.
        assert (reply.status, reply.headers["X-RateLimit-Limit"]) == (403, "10")
        assert reply.headers["RateLimit"].startswith('"failed-attempts.minute";r=')
    without = provider.call(POSITIONS, address="198.51.100.99")
    assert (without.status, without.headers["X-RateLimit-Limit"], without.headers["X-RateLimit-Remaining"]) == (401, "10", "10")
    # An unknown key is counted by address, with headers.
    refused = provider.call(POSITIONS, headers=sent("nonsense"), address="198.51.100.99")
    assert (refused.status, refused.headers["X-RateLimit-Limit"], refused.headers["X-RateLimit-Remaining"]) == (401, "10", "9")


def test_a_suspended_account_is_refused_until_it_is_activated(provider, issued):
    account = issued["account"]
    assert statuses(provider, 1, issued["key"]) == [200]
    provider.admin_json("POST", f"/accounts/{account}/suspend")
    refused = provider.call(POSITIONS, headers=sent(issued["key"]))
    assert (refused.status, refused.json()["reason"]) == (403, "account-suspended")
    provider.admin_json("POST", f"/accounts/{account}/activate")
    assert statuses(provider, 1, issued["key"]) == [200]


def test_a_key_is_refused_from_other_addresses(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    key = provider.issue(account, scopes=["positions:read"], addresses=["198.51.100.0/24"])["key"]
    assert [provider.call(POSITIONS, headers=sent(key), address=each).status for each in ("198.51.100.4", "198.51.101.4")] == [200, 403]


def test_rotation_and_revocation_apply_at_once(provider, issued):
    account = issued["account"]
    new = provider.admin_json("POST", f"/accounts/{account}/keys/{issued['id']}/rotate", {})
    assert (statuses(provider, 1, issued["key"]), statuses(provider, 1, new["key"])) == ([401], [200])
    provider.admin_json("POST", f"/accounts/{account}/keys/{new['id']}/revoke")
    assert statuses(provider, 1, new["key"]) == [401]


def test_last_use_and_refused_addresses_are_recorded(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    issued = provider.issue(account, scopes=["positions:read"], addresses=["198.51.100.0/24"])
    provider.call(POSITIONS, headers=sent(issued["key"]), address="203.0.113.66")
    provider.call(POSITIONS, headers=sent(issued["key"]), address="198.51.100.4")
    assert provider.refusals(account, 1)[0] | {"at": ""} == {
        "at": "",
        "action": "refused.address",
        "account": account,
        "key": issued["id"],
        "address": "203.0.113.66",
        "count": 1,
    }
    assert provider.admin_json("GET", f"/accounts/{account}/keys/{issued['id']}")["last_used"] is not None
