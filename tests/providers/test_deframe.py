"""Deframe's promises, met as its user would."""

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


def test_a_hundred_a_minute_and_a_thousand_an_hour(provider, clock, issued):
    for _ in range(10):
        assert statuses(provider, 100, issued["key"]) == [200] * 100
        denied = provider.call(POSITIONS, headers=sent(issued["key"]))
        assert denied.status == 429
        clock.advance(60)
    # The 101st of a minute was not counted by the hour, or these would not have been 1,000.
    denied = provider.call(POSITIONS, headers=sent(issued["key"]))
    assert (denied.status, denied.json()["violated-policies"]) == (429, ["hour"])
    assert denied.headers["RateLimit"].startswith('"minute";r=100;')
    # Ten minutes are gone; a burst is given back within 1/128 of the hour after its own.
    clock.advance(int(denied.headers["Retry-After"]))
    assert provider.call(POSITIONS, headers=sent(issued["key"])).status == 200
    assert 3000 <= int(denied.headers["Retry-After"]) <= 3000 + 3600 / 128 + 1


def test_each_key_has_limits_of_its_own(provider, issued):
    account = issued["account"]
    other = provider.issue(account, scopes=["positions:read"])["key"]
    assert statuses(provider, 101, issued["key"])[-1] == 429
    assert statuses(provider, 1, other) == [200]


def test_only_x_api_key_is_looked_at(provider, issued):
    assert provider.call(POSITIONS, issued["key"]).json()["reason"] == "no-credential"
    assert provider.call(POSITIONS, "nonsense", headers=sent(issued["key"])).status == 200


@pytest.mark.parametrize(
    ("path", "method", "status"), [(POSITIONS, "GET", 200), ("/v1/strategies", "GET", 403), ("/v1/transactions", "POST", 403)]
)
def test_there_is_a_permission_for_each_endpoint(provider, issued, path, method, status):
    assert provider.call(path, method=method, headers=sent(issued["key"])).status == status


def test_limits_are_told_on_every_decision(provider, issued):
    replies = [provider.call(POSITIONS, headers=sent(issued["key"])) for _ in range(101)]
    assert [int(reply.headers["X-RateLimit-Remaining"]) for reply in replies] == [*range(99, -1, -1), 0]
    for reply in replies:
        assert reply.headers["RateLimit-Policy"] == '"minute";q=100;w=60, "hour";q=1000;w=3600'
        assert reply.headers["X-RateLimit-Reset"]
    for method, path in (("GET", "/v1/strategies"), ("POST", "/v1/transactions")):
        reply = provider.call(path, method=method, headers=sent(issued["key"]))
        assert (reply.status, reply.headers["X-RateLimit-Remaining"]) == (403, "0")
        assert reply.headers["RateLimit"].startswith('"minute";r=0;t=60, "hour";r=900;')
    without = provider.call(POSITIONS, address="198.51.100.99")
    assert (without.status, without.headers["X-RateLimit-Limit"], without.headers["X-RateLimit-Remaining"]) == (401, "10", "10")
    # Failed authentication is counted as well, by address, and says so.
    refused = provider.call(POSITIONS, headers=sent("nonsense"), address="198.51.100.99")
    assert (refused.status, refused.headers["X-RateLimit-Limit"], refused.headers["X-RateLimit-Remaining"]) == (401, "10", "9")


def test_a_suspended_account_is_refused_and_let_in_again(provider, issued):
    account = issued["account"]
    assert statuses(provider, 1, issued["key"]) == [200]
    provider.done("POST", f"/accounts/{account}/suspend")
    refused = provider.call(POSITIONS, headers=sent(issued["key"]))
    assert (refused.status, refused.json()["reason"]) == (403, "account-suspended")
    provider.done("POST", f"/accounts/{account}/activate")
    assert statuses(provider, 1, issued["key"]) == [200]


def test_other_addresses_than_the_keys_are_refused(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    key = provider.issue(account, scopes=["positions:read"], addresses=["198.51.100.0/24"])["key"]
    assert [provider.call(POSITIONS, headers=sent(key), address=each).status for each in ("198.51.100.4", "198.51.101.4")] == [200, 403]


def test_a_key_is_rotated_or_revoked_at_any_time_and_a_new_one_works_at_once(provider, issued):
    account = issued["account"]
    new = provider.done("POST", f"/accounts/{account}/keys/{issued['id']}/rotate", {})
    assert (statuses(provider, 1, issued["key"]), statuses(provider, 1, new["key"])) == ([401], [200])
    provider.done("POST", f"/accounts/{account}/keys/{new['id']}/revoke")
    assert statuses(provider, 1, new["key"]) == [401]


def test_last_use_and_unexpected_addresses_can_be_seen(provider, accounts):
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
    assert provider.done("GET", f"/accounts/{account}/keys/{issued['id']}")["last_used"] is not None
