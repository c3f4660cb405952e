"""Who may call the decision API, by the `v1` of the configuration."""

import json
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter.addresses import Networks
from limiter.api.callers.bearer_token import check_strength, given_token
from limiter.api.callers.host_header import AllowedHosts
from limiter.api.callers.v1_callers import V1Callers, caller_of
from limiter.api.command_errors import Misused
from limiter.api.rules import Rules

TOKEN = "a-token-of-the-tests"  # noqa: S105 - for tests only
TRUSTED = Networks([ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8")])


def status(v1, peer="127.0.0.1", host="localhost:8080", headers=(), token=TOKEN, names=()):
    """The status of the refusal; None if the caller may call."""
    hosts = [] if host is None else [(b"host", host.encode())]
    scope = {"client": (peer, 4711), "headers": [*hosts, *((name.encode(), value.encode("latin-1")) for name, value in headers)]}
    refusal = V1Callers(token, AllowedHosts(names)).refusal(scope, Rules({}, trusted_proxies=TRUSTED, v1=v1))
    return None if refusal is None else refusal.status


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "api.localhost", "127.0.0.1:8080", "[::1]:8080", "localhost."])
@pytest.mark.parametrize("v1", ["loopback", "trusted"])
def test_a_program_on_this_machine_may_call(v1, peer, host):
    assert status(v1, peer, host) is None


@pytest.mark.parametrize("peer", ["203.0.113.7", "10.1.2.3", "::2", ""])
def test_under_loopback_no_other_machine_may_call(peer):
    assert status("loopback", peer) == 403


SIGNS = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-uri", "forwarded", "x-real-ip", "via"]


@given(st.sampled_from(SIGNS), st.one_of(st.just("127.0.0.1"), st.text(st.characters(min_codepoint=0, max_codepoint=255))))
def test_under_loopback_any_sign_of_a_proxy_is_refused(name, value):
    assert status("loopback", headers=[(name, value)]) == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example", "203.0.113.7", "127.0.0.1@evil.example"])
@pytest.mark.parametrize("v1", ["loopback", "trusted"])
def test_a_name_of_a_web_site_is_refused(v1, host):
    assert status(v1, host=host) == (None if (v1, host) == ("trusted", "203.0.113.7") else 421)


@pytest.mark.parametrize("host", [None, "", "[::1", "localhost:x", "localhost\xa0"])
@pytest.mark.parametrize("v1", ["loopback", "trusted"])
def test_a_missing_or_malformed_host_is_refused(v1, host):
    assert status(v1, host=host) == 421


def test_of_two_hosts_both_must_be_right():
    assert status("loopback", headers=[("host", "evil.example")]) == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:8080", "null"])
@pytest.mark.parametrize("v1", ["loopback", "trusted"])
def test_a_web_page_is_refused(v1, origin):
    assert status(v1, headers=[("origin", origin)]) == 403


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        ("10.1.2.3", [], None),
        ("10.1.2.3", [("x-forwarded-for", "10.9.9.9, 127.0.0.1")], None),
        ("10.1.2.3", [("x-forwarded-for", "10.9.9.9"), ("x-real-ip", "10.9.9.9")], None),
        ("203.0.113.7", [], 403),
        ("10.1.2.3", [("x-forwarded-for", "203.0.113.7, 10.9.9.9")], 403),
        ("10.1.2.3", [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "10.9.9.9")], 403),
        ("10.1.2.3", [("x-forwarded-for", "unknown")], 403),
        ("10.1.2.3", [("x-real-ip", "203.0.113.7")], 403),
        ("10.1.2.3", [("forwarded", "for=10.9.9.9")], 403),
    ],
)
def test_under_trusted_every_hop_must_be_trusted(peer, headers, expected):
    assert status("trusted", peer, "10.0.0.1:8080", headers) == expected


def test_under_trusted_a_name_has_to_be_allowed():
    assert status("trusted", "10.1.2.3", "limiter.internal:8080") == 421
    assert status("trusted", "10.1.2.3", "Limiter.Internal:8080", names=["limiter.internal"]) is None
    assert status("loopback", host="limiter.internal", names=["limiter.internal"]) == 421


BEARER = [("authorization", f"Bearer {TOKEN}")]


def test_with_the_token_any_address_may_call():
    headers = [*BEARER, ("x-forwarded-for", "203.0.113.9"), ("origin", "https://app.example")]
    assert status("token", "203.0.113.7", "api.example", headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "Bearer ")],
        [("authorization", f"Bearer {TOKEN}x")],
        [("authorization", f"Bearer {TOKEN[:-1]}")],
        [("authorization", f"Basic {TOKEN}")],
        [("x-api-key", TOKEN)],
        BEARER * 2,
    ],
)
def test_without_the_token_nobody_may_call(headers):
    assert status("token", headers=headers) == 401
    assert status("token", headers=[*headers, *BEARER][:1] if headers else [], token=None) == 401


def test_nobody_may_call_if_it_is_off():
    assert status("off", headers=BEARER) == 404


def test_a_refusal_names_the_value_and_the_remedy():
    scope = {"client": ("127.0.0.1", 1), "headers": [(b"host", b"evil.example\xff")]}
    problem = json.loads(V1Callers().refusal(scope, Rules({})).body)
    assert (problem["status"], problem["reason"]) == (421, "unknown-host")
    assert "Host must be localhost or a loopback address, not 'evil.example\u00ff': " in problem["detail"]
    assert "set v1" in problem["detail"]


@pytest.mark.parametrize(
    ("token", "found"),
    [("short", "5 characters"), ("x" * 513, "513"), ("has a space in the middle", "one with other"), ("ü" * 20, "one with other")],
)
def test_a_weak_token_is_refused_without_being_shown(token, found):
    with pytest.raises(Misused, match=rf"LIMITER_V1_TOKEN must have 16 to 512 .* not {found}.*openssl rand") as caught:
        check_strength(token, "LIMITER_V1_TOKEN")
    assert token not in str(caught.value)


def test_white_space_around_a_token_of_the_environment_is_ignored(monkeypatch):
    """Secrets that come from a file often end with a line break."""
    monkeypatch.setenv("LIMITER_V1_TOKEN", f"{TOKEN}\n")
    assert given_token("--v1-token-file", None, "LIMITER_V1_TOKEN") == TOKEN
    monkeypatch.setenv("LIMITER_V1_TOKEN", " ")
    assert given_token("--v1-token-file", None, "LIMITER_V1_TOKEN") is None


@pytest.mark.parametrize("name", ["http://limiter", "limiter:8080", "", "a b", "-x"])
def test_an_allowed_host_is_a_bare_name(name):
    with pytest.raises(Misused, match="--allowed-host must be a host name"):
        AllowedHosts([name])


@pytest.mark.parametrize(
    ("v1", "peers"),
    [
        ("loopback", {"127.0.0.1": "loopback", "::1": "loopback"}),
        ("token", {"127.0.0.1": "token", "203.0.113.7": "token"}),
        ("trusted", {"::1": "loopback", "10.0.0.1": "10.0.0.1", "::ffff:10.0.0.2": "10.0.0.2"}),
    ],
)
def test_callers_that_are_not_the_same_have_idempotency_keys_of_their_own(v1, peers):
    rules = Rules({}, trusted_proxies=TRUSTED, v1=v1)
    assert {peer: caller_of({"client": (peer, 4711), "headers": []}, rules) for peer in peers} == peers
