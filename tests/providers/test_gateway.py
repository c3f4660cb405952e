"""A gateway's promises, checked over HTTP: floods, guessing, limits per tenant, approval, several sidecars."""

import json

import pytest

from support.servers.provider import example, running_provider


@pytest.fixture
def tenant(provider, accounts):
    account = next(accounts)
    provider.account(account, "standard")
    return account


def test_a_flood_without_keys_is_limited_by_address(provider, clock):
    assert provider.statuses(21, "/", address="198.51.100.1") == [200] * 20 + [429]
    assert provider.call("/", address="198.51.100.2").status == 200
    clock.advance(5)
    assert provider.statuses(6, "/", address="198.51.100.1") == [200] * 5 + [429]


def test_an_ipv6_network_counts_as_one_address(provider):
    statuses = [provider.call("/", address=f"2001:db8:5:6::{n:x}").status for n in range(1, 22)]
    assert statuses == [200] * 20 + [429]


def test_guessing_is_limited_by_address_and_leaves_no_state_per_key(provider, timed, clock):
    guesser = "198.51.100.3"
    with timed[0].client() as client:
        before = set(client.keys())
        assert [provider.call("/", f"guess-number-{n}", address=guesser).status for n in range(105)] == [401] * 5 + [429] * 100
        assert len(set(client.keys()) - before) == 1
        clock.advance(60)
        ours = [f"ff_live_{'a' * 31}{letter}" for letter in "abcde"]
        assert [provider.call("/", key, address=guesser).status for key in ours] == [401] * 5
        assert len(set(client.keys()) - before) == 1
    blocked = provider.call("/", "once-more", address=guesser)
    assert blocked.json()["type"].endswith("#abnormal-usage-detected")
    assert blocked.headers["Retry-After"] == "60"


def test_responses_do_not_reveal_whether_a_key_exists(provider, tenant):
    known = provider.issue(tenant)["key"]
    tried = ["nonsense", known[:-1], known[:-1] + ("a" if known[-1] != "a" else "b"), known.upper(), f"{known} {known}", f"{known}x"]
    reported = [provider.call("/", key, address=f"198.51.100.{n}") for n, key in enumerate(tried, 40)]
    assert {(reply.status, reply.body, reply.headers["WWW-Authenticate"]) for reply in reported} == {
        (401, reported[0].body, 'Bearer realm="limiter", error="invalid_token"')
    }
    assert json.loads(reported[0].body)["reason"] == "invalid-credential"


def test_logins_without_a_key_are_limited(provider):
    assert provider.statuses(6, "/login", method="POST", address="198.51.100.4") == [200] * 5 + [429]


def test_each_tenant_has_its_own_limits(provider, accounts, tenant):
    account = next(accounts)
    provider.admin_json("POST", "/accounts", {"id": account, "tier": "standard", "limits": ["7/minute"]})
    first, second = (provider.issue(account)["key"] for _ in range(2))
    assert [provider.call("/", key).status for key in [first, second] * 4] == [200] * 7 + [429]
    key = provider.issue(tenant, limits=["3/hour"])["key"]
    assert provider.statuses(4, "/", key) == [200] * 3 + [429]
    other = provider.issue(tenant)["key"]
    stated = '"per-key.minute";q=600;w=60, "burst";q=100;w=10, "per-tenant.minute";q=3000;w=60, "month";q=1000000;w='
    assert provider.call("/", other).headers["RateLimit-Policy"].startswith(stated)


def test_a_changed_limit_applies_from_the_next_call_on_and_keeps_its_counts(provider, accounts):
    account = next(accounts)
    provider.admin_json("POST", "/accounts", {"id": account, "tier": "standard", "limits": ["5/minute"]})
    key = provider.issue(account)["key"]
    assert provider.statuses(6, "/", key) == [200] * 5 + [429]
    provider.admin_json("PATCH", f"/accounts/{account}", {"limits": ["8/minute"]})
    assert provider.statuses(4, "/", key) == [200] * 3 + [429]


def test_a_key_and_a_tenant_can_have_a_policy_of_the_configuration(provider, tenant):
    key = provider.issue(tenant, policy="trusted-key")["key"]
    assert "q=6000" in provider.call("/", key).headers["RateLimit-Policy"]
    provider.admin_json("PATCH", f"/accounts/{tenant}", {"policy": "trusted-tenant"})
    assert "q=60000" in provider.call("/", key).headers["RateLimit-Policy"]


def test_a_tenant_waits_for_approval(provider, tenant):
    key = provider.issue(tenant)["key"]
    provider.admin_json("POST", f"/accounts/{tenant}/suspend")
    assert provider.call("/", key).status == 403
    provider.admin_json("POST", f"/accounts/{tenant}/activate")
    assert provider.call("/", key).status == 200


def test_a_route_with_a_scope_refuses_callers_without_a_key(provider, tenant):
    assert provider.call("/admin/users").status == 401
    assert provider.call("/admin/users", provider.issue(tenant)["key"]).status == 403
    assert provider.call("/admin/users", provider.issue(tenant, scopes=["admin"])["key"]).status == 200


def test_several_sidecars_enforce_one_limit(provider, timed, accounts, tmp_path):
    account = next(accounts)
    provider.admin_json("POST", "/accounts", {"id": account, "tier": "standard", "limits": ["10/minute"]})
    issued = provider.issue(account)
    with running_provider(tmp_path, example("gateway"), timed[0].url, "gateway", "--workers", "2") as beside:
        both = [provider, beside]
        assert [both[n % 2].call("/", issued["key"]).status for n in range(11)] == [200] * 10 + [429]
        provider.admin_json("POST", f"/accounts/{account}/keys/{issued['id']}/revoke")
        assert [each.call("/", issued["key"]).status for each in both] == [401, 401]
