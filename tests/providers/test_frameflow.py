"""FrameFlow's promises, checked over HTTP. A gateway in front of the sidecar terminates TLS and reports it."""

import subprocess

import pytest

from support.servers.provider import example, running_provider

GATEWAY = {"X-Forwarded-Proto": "https"}
HOUR = 3600


@pytest.mark.parametrize(("tier", "capacity"), [("standard", 120), ("pro", 600)])
def test_a_tier_admits_exactly_its_limit_per_minute(provider, accounts, clock, tier, capacity):
    account = next(accounts)
    provider.account(account, tier)
    key = provider.issue(account, scopes=["asset:read"])["key"]
    assert provider.statuses(capacity, "/v1/assets/7", key) == [200] * capacity
    denied = provider.call("/v1/assets/7", key)
    assert (denied.status, denied.headers["X-RateLimit-Limit"], denied.headers["Retry-After"]) == (429, str(capacity), "60")
    clock.advance(60)
    assert provider.call("/v1/assets/7", key).status == 200


def test_enterprise_has_a_higher_limit_than_pro(provider, accounts):
    account = next(accounts)
    provider.account(account, "enterprise")
    key = provider.issue(account, scopes=["asset:read"])["key"]
    assert provider.call("/v1/assets/7", key).headers["X-RateLimit-Remaining"] == "5999"


def test_a_key_has_its_form_and_is_accepted_only_as_bearer(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    key = provider.issue(account, scopes=["asset:read"])["key"]
    assert key.startswith("ff_live_")
    assert provider.call("/v1/assets/7", key).status == 200
    assert provider.call("/v1/assets/7", headers={"X-API-Key": key}).json()["reason"] == "no-credential"


def test_a_rotated_key_stays_valid_for_72_hours(provider, accounts, clock):
    account = next(accounts)
    provider.account(account, "standard")
    old = provider.issue(account, scopes=["asset:read"])
    clock.advance(90 * 24 * HOUR)
    new = provider.admin_json("POST", f"/accounts/{account}/keys/{old['id']}/rotate", {"overlap": 72 * HOUR})
    assert new["scopes"] == ["asset:read"]
    assert provider.statuses(2, "/v1/assets/7", old["key"]) == [200, 200]
    # Both keys are one subject, so a rotation does not reset limits.
    assert provider.call("/v1/assets/7", new["key"]).headers["X-RateLimit-Remaining"] == "117"
    clock.advance(72 * HOUR - 60)
    assert provider.call("/v1/assets/7", old["key"]).status == 200
    clock.advance(60)
    provider.update_clock(account)
    refused = provider.call("/v1/assets/7", old["key"])
    assert (refused.status, refused.json()["reason"]) == (401, "expired-key")
    assert provider.call("/v1/assets/7", new["key"]).status == 200


def test_routes_require_scopes_and_a_tier_limits_those_of_a_key(provider, accounts):
    account = next(accounts)
    provider.account(account, "pro")
    key = provider.issue(account, scopes=["asset:read", "asset:download"])["key"]
    assert provider.call("/v1/assets/7/download", key).status == 200
    refused = provider.call("/v1/collections/9", key, method="POST")
    assert (refused.status, refused.json()["reason"]) == (403, "missing-scope")
    assert 'scope="collection:write"' in refused.headers["WWW-Authenticate"]
    provider.admin_json("PATCH", f"/accounts/{account}", {"tier": "standard"})
    assert provider.call("/v1/assets/7/download", key).json()["reason"] == "missing-scope"
    assert provider.call("/v1/assets/7", key).headers["X-RateLimit-Limit"] == "120"
    provider.admin_json("PATCH", f"/accounts/{account}", {"tier": "pro"})
    assert provider.call("/v1/assets/7/download", key).status == 200


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("203.0.113.7", 200),
        ("203.0.113.255", 200),
        ("203.0.114.1", 403),
        ("::ffff:203.0.113.7", 200),
        ("::ffff:203.0.114.1", 403),
        ("2001:db8:1::9", 200),
        ("2001:db8:2::9", 403),
    ],
)
def test_a_key_works_only_from_its_networks(provider, bound_key, address, status):
    reply = provider.call("/v1/assets/7", bound_key, address=address)
    assert reply.status == status
    assert status == 200 or reply.json()["reason"] == "address-not-allowed"


@pytest.fixture(scope="module")
def bound_key(provider, accounts):
    account = next(accounts)
    provider.account(account, "pro")
    return provider.issue(account, scopes=["asset:read"], addresses=["203.0.113.0/24", "2001:db8:1::/48"])["key"]


def test_plaintext_is_refused(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    key = provider.issue(account, scopes=["asset:read"])["key"]
    refused = provider.call("/v1/assets/7", key, headers={"X-Forwarded-Proto": "http"})
    assert (refused.status, refused.json()["reason"]) == (403, "plaintext")


def test_the_sidecar_can_terminate_tls(tmp_path, timed, prefix):
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", chain, "-days", "2"]
    subprocess.run([*command, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    config = example("frameflow", ('trusted_proxies: [127.0.0.1, "::1"]', "trusted_proxies: [192.0.2.1]"))
    with running_provider(tmp_path, config, timed[0].url, prefix, "--tls-cert", str(chain), "--tls-key", str(key)) as own:
        own.account("studio", "standard")
        raw = own.issue("studio", scopes=["asset:read"])["key"]
        assert own.over_tls("/v1/assets/7", raw, chain) == 200
        # TLS 1.2 is the minimum.
        assert own.over_tls("/v1/assets/7", raw, chain, most="TLSv1_2") == 200
        assert own.over_tls("/v1/assets/7", raw, chain, most="TLSv1_1") is None


def test_changes_and_refusals_are_in_the_audit(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    issued = provider.issue(account, scopes=["asset:read"])
    provider.call("/v1/collections/9", issued["key"], method="POST")
    provider.call("/v1/assets/7", issued["key"], headers={"X-Forwarded-Proto": "http"})
    provider.admin_json("POST", f"/accounts/{account}/keys/{issued['id']}/revoke")
    provider.call("/v1/assets/7", issued["key"])
    done = provider.admin_json("GET", f"/audit?account={account}")["entries"]
    assert [each["action"] for each in done] == ["keys.revoke", "keys.issue", "accounts.create"]
    reported = provider.refusals(account, 2)
    assert {each["action"] for each in reported} == {"refused.revoked", "refused.scope"}
    assert {each["address"] for each in reported} == {"192.0.2.1"}
