"""FileForge's promises, checked over HTTP."""

import hashlib
import re

import pytest

from support.clock import DAY, SECOND

CONVERT = "/v1/convert/pdf"
ALL = ["convert:write", "files:read", "files:write", "files:delete"]


def convert(provider, key, count=1):
    return provider.statuses(count, CONVERT, key, method="POST")


@pytest.fixture
def pro(provider, accounts):
    return issued_at(provider, next(accounts), "pro")


def issued_at(provider, account, tier, **asked):
    provider.account(account, tier)
    return provider.issue(account, scopes=ALL, **asked)


def midnight(clock):
    """The beginning of the next day in UTC."""
    clock.now_us += DAY - clock.now_us % DAY


def test_an_account_has_the_daily_quota_of_its_tier(provider, accounts, clock):
    midnight(clock)
    first = issued_at(provider, next(accounts), "free")
    second = provider.issue(first["account"], scopes=ALL)
    files = "/v1/files/7"
    assert provider.statuses(10, files, first["key"]) == [200] * 10
    assert provider.call(files, first["key"]).json()["violated-policies"] == ["minute"]
    assert provider.statuses(10, files, second["key"]) == [200] * 10
    clock.advance(60)
    assert provider.statuses(6, files, first["key"]) == [200] * 5 + [429]
    denied = provider.call(files, second["key"])
    assert (denied.status, denied.json()["violated-policies"], denied.headers["X-RateLimit-Limit"]) == (429, ["day"], "25")
    assert int(denied.headers["Retry-After"]) == 86400 - 60
    clock.now_us += DAY - clock.now_us % DAY - SECOND
    assert provider.call(files, second["key"]).status == 429
    clock.advance(1)
    assert provider.call(files, second["key"]).status == 200


def test_an_upgrade_raises_the_quota_and_keeps_the_keys(provider, accounts, clock):
    midnight(clock)
    issued = issued_at(provider, next(accounts), "free")
    for _ in range(2):
        assert provider.statuses(10, "/v1/files/7", issued["key"]) == [200] * 10
        clock.advance(60)
    provider.admin_json("PATCH", f"/accounts/{issued['account']}", {"tier": "pro"})
    reply = provider.call("/v1/files/7", issued["key"])
    assert reply.headers["RateLimit-Policy"] == '"minute";q=60;w=60, "day";q=1000;w=86400'
    assert reply.status == 200


def test_bearer_wins_over_x_api_key(provider, pro):
    key = pro["key"]
    assert provider.call("/v1/formats", headers={"X-API-Key": key}).status == 200
    assert provider.call("/v1/formats", key, headers={"X-API-Key": "nonsense"}).status == 200
    assert provider.call("/v1/formats", "nonsense", headers={"X-API-Key": key}).status == 401


def test_a_key_has_its_form_and_only_its_digest_is_stored(provider, pro, timed):
    key = pro["key"]
    assert re.fullmatch(r"ff_live_[a-z2-7]{32}", key)
    assert pro["key_prefix"] == key[:12]
    listed = provider.admin("GET", f"/accounts/{pro['account']}/keys")
    assert listed.json()["keys"][0]["key_prefix"] == key[:12]
    assert key.encode() not in listed.body
    digest = hashlib.sha256(key.encode())
    with timed[0].client() as client:
        records = b"".join(client.hgetall(f"fileforge:{{{pro['account']}}}:records").values())
    assert key.encode() not in records
    assert key[13:].encode() not in records
    found = provider.admin_json("POST", "/keys/find", {"key": key})
    assert (found["id"], "key" in found) == (pro["id"], False)
    assert digest.hexdigest() not in str(found)


def test_a_rotated_key_is_revoked_at_once_and_the_new_one_has_its_scopes(provider, accounts):
    old = issued_at(provider, next(accounts), "pro", name="batch")
    assert convert(provider, old["key"]) == [200]
    new = provider.admin_json("POST", f"/accounts/{old['account']}/keys/{old['id']}/rotate", {})
    assert (new["name"], new["scopes"]) == ("batch", ALL)
    assert (convert(provider, old["key"]), convert(provider, new["key"])) == ([401], [200])


def test_a_revoked_key_gets_401_from_the_next_call_on(provider, pro):
    assert convert(provider, pro["key"]) == [200]
    provider.admin_json("POST", f"/accounts/{pro['account']}/keys/{pro['id']}/revoke")
    assert convert(provider, pro["key"]) == [401]


def test_a_missing_scope_is_403_and_some_routes_need_no_scope(provider, accounts):
    account = next(accounts)
    provider.account(account, "business")
    key = provider.issue(account, scopes=["files:read"])["key"]
    files = [("GET", 200), ("HEAD", 200), ("PUT", 403), ("DELETE", 403)]
    assert [provider.call("/v1/files/7", key, method=method).status for method, _ in files] == [status for _, status in files]
    assert convert(provider, key) == [403]
    assert provider.call("/v1/formats", key).status == 200
    assert provider.call("/v1/formats").status == 401
    assert provider.call("/v1/health").status == 200


def test_a_downgrade_removes_scopes_and_an_upgrade_restores_them(provider, pro):
    path = f"/accounts/{pro['account']}"
    before = provider.admin_json("GET", f"{path}/keys/{pro['id']}")
    assert convert(provider, pro["key"]) == [200]
    provider.admin_json("PATCH", path, {"tier": "free"})
    refused = provider.call(CONVERT, pro["key"], method="POST")
    assert (refused.status, refused.json()["reason"]) == (403, "missing-scope")
    assert provider.call("/v1/files/7", pro["key"]).status == 200
    provider.admin_json("PATCH", path, {"tier": "pro"})
    assert convert(provider, pro["key"]) == [200]
    after = provider.admin_json("GET", f"{path}/keys/{pro['id']}")
    assert before | {"last_used": None} == after | {"last_used": None}


def test_no_cors_headers_are_sent(provider, pro):
    for method in ("GET", "OPTIONS"):
        reply = provider.call("/v1/formats", pro["key"], method=method, headers={"Origin": "https://elsewhere.example"})
        assert not [name for name in reply.headers if name.lower().startswith("access-control-")]
