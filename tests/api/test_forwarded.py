"""The original request that a gateway describes, and the address of its client."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from limiter.api.config.loader import loads
from limiter.api.forwarded import GATEWAYS, InvalidDescription, Original, client_address, proxied
from limiter.api.identity import Directory
from limiter.api.resolve import resolve
from limiter.api.view import View

PROXIES = {"10.0.0.1", "10.0.0.2"}
trusts = PROXIES.__contains__

FORWARD = ("X-Original-Method", "X-Original-URI", "X-Forwarded-Method", "X-Forwarded-Uri")
# What each gateway sets by itself for `DELETE /files/1?x` of 203.0.113.7 over TLS: the method and path of its request, and its headers.
SENT = {
    "nginx": ("GET", "/authorize", {"X-Original-Method": "DELETE", "X-Original-URI": "/files/1?x"}),
    "forwarded": ("GET", "/authorize", {"X-Forwarded-Method": "DELETE", "X-Forwarded-Uri": "/files/1?x"}),
    "envoy": ("DELETE", "/authorize/files/1", {}),
}
CLIENT = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}


def asked(gateway, headers, path="/authorize", method="GET", peer="10.0.0.1"):
    """`headers` is a mapping, or a list of lines. As in the sidecar, repeated lines are joined."""
    pairs = headers.items() if isinstance(headers, dict) else headers
    lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs]
    found = {}
    for name, value in lines:
        if name in GATEWAYS[gateway].headers:
            found[name] = found[name] + b", " + value if name in found else value
    scope = {"raw_path": path.encode(), "method": method, "client": (peer, 4711), "scheme": "http", "headers": lines}
    return GATEWAYS[gateway].original(scope, found, trusts)


def refusal(*arguments, **options):
    with pytest.raises(InvalidDescription) as caught:
        asked(*arguments, **options)
    return caught.value.status, caught.value.reason, str(caught.value)


@pytest.mark.parametrize("gateway", SENT)
def test_a_trusted_gateway_describes_the_request_of_its_client(gateway):
    method, path, headers = SENT[gateway]
    assert asked(gateway, {**headers, **CLIENT}, path, method) == Original("DELETE", "/files/1", "203.0.113.7", "https")


OTHERS = ["X-Original-URL", "X-Real-IP", "X-HTTP-Method", "Forwarded", "X-Forwarded-Host"]
FORGED = st.dictionaries(st.sampled_from([*FORWARD, *OTHERS]), st.text())


@given(st.sampled_from(sorted(SENT)), FORGED)
def test_headers_of_other_gateways_change_nothing(gateway, forged):
    method, path, headers = SENT[gateway]
    others = {name: value.encode("utf-8").decode("latin-1") for name, value in forged.items() if name not in headers}
    assert asked(gateway, {**others, **headers, **CLIENT}, path, method) == Original("DELETE", "/files/1", "203.0.113.7", "https")


@pytest.mark.parametrize("gateway", ["nginx", "forwarded"])
@pytest.mark.parametrize("missing", [0, 1])
def test_a_gateway_must_send_both_of_its_headers(gateway, missing):
    _, path, headers = SENT[gateway]
    left = dict([list(headers.items())[missing]])
    assert refusal(gateway, left, path)[:2] == (400, "missing-forward-header")
    assert refusal(gateway, {**headers, **dict.fromkeys(left, "")}, path)[:2] == (400, "missing-forward-header")


@pytest.mark.parametrize("gateway", ["nginx", "forwarded"])
@pytest.mark.parametrize("forged", ["GET", "/health", "/files/1?x", "DELETE"])
@pytest.mark.parametrize("is_first", [True, False])
def test_two_lines_of_a_header_are_contradicting_accounts(gateway, forged, is_first):
    _, path, headers = SENT[gateway]
    name = next(name for name in headers if name.endswith(("URI", "Uri") if forged.startswith("/") else "Method"))
    lines = list(headers.items())
    lines.insert(0 if is_first else len(lines), (name, forged))
    assert refusal(gateway, lines, path)[:2] == (400, "conflicting-accounts")


def test_envoy_must_ask_with_the_path():
    assert refusal("envoy", {"X-Original-Method": "GET", "X-Original-URI": "/x"}, "/authorize")[:2] == (400, "missing-path")
    assert asked("envoy", {}, "/authorize/").path == "/"


@pytest.mark.parametrize("gateway", ["nginx", "forwarded"])
def test_a_path_below_authorize_must_agree_with_the_header(gateway):
    headers = SENT[gateway][2]
    assert asked(gateway, headers, "/authorize/files/1").path == "/files/1"
    assert refusal(gateway, headers, "/authorize/health")[:2] == (400, "conflicting-accounts")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_request_of_an_untrusted_peer_is_judged_as_it_is(gateway):
    request = asked(gateway, CLIENT, "/authorize/x", "PUT", peer="203.0.113.9")
    assert request == Original("PUT", "/x", "203.0.113.9", "http")


@pytest.mark.parametrize("gateway", ["nginx", "forwarded", "envoy"])
@pytest.mark.parametrize("name", FORWARD)
def test_an_untrusted_peer_that_describes_another_request_is_refused(gateway, name):
    status, reason, detail = refusal(gateway, {name: "/free"}, peer="203.0.113.9")
    assert (status, reason) == (403, "untrusted-gateway")
    assert detail == f"{name} comes from 203.0.113.9, which is not trusted: if it is your gateway, add it to identify.trusted_proxies."


@pytest.mark.parametrize("peer", ["10.0.0.1", "203.0.113.9"])
@pytest.mark.parametrize("name", FORWARD)
def test_without_a_configured_gateway_a_described_request_is_refused(peer, name):
    status, reason, detail = refusal("none", {name: "/free"}, peer=peer)
    assert (status, reason) == (403, "gateway-not-configured")
    family = "nginx" if "Original" in name else "forwarded"
    assert detail.startswith(f"{name} comes from {peer}, but no gateway is configured: ")
    assert f"identify.gateway to {family}, " in detail


def test_without_a_gateway_a_trusted_load_balancer_states_the_address_and_the_scheme():
    assert asked("none", CLIENT).path == "/"
    assert asked("none", CLIENT, "/authorize/x", "PUT") == Original("PUT", "/x", "203.0.113.7", "https")


@pytest.mark.parametrize("peer", ["10.0.0.1", "203.0.113.9"])
def test_the_proxy_judges_the_request_itself(peer):
    forged = dict.fromkeys((name.lower().encode() for name in FORWARD), b"/free")
    told = {**forged, **{name.lower().encode(): value.encode() for name, value in CLIENT.items()}}
    scope = {"raw_path": b"/x", "method": "PUT", "client": (peer, 4711), "scheme": "http"}
    expected = ("203.0.113.7", "https") if peer in PROXIES else (peer, "http")
    assert proxied(scope, told, trusts) == Original("PUT", "/x", *expected)


@pytest.mark.parametrize(
    ("forwarded_for", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.2", "10.0.0.2"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("6.6.6.6, " * 1000 + "203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("", "10.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_a_trusted_proxy(forwarded_for, address):
    assert client_address("10.0.0.1", {b"x-forwarded-for": forwarded_for.encode()}, trusts) == address


@pytest.mark.parametrize(
    "forwarded_for",
    ["unknown", "203.0.113.7, unknown", "203.0.113.7, unknown, 10.0.0.2", "203.0.113.7,", "1" * 5000, "10.0.0.2, " * 50 + "10.0.0.2"],
)
def test_a_hop_that_is_not_an_address_is_refused(forwarded_for):
    with pytest.raises(InvalidDescription) as caught:
        client_address("10.0.0.1", {b"x-forwarded-for": forwarded_for.encode()}, trusts)
    assert (caught.value.status, caught.value.reason) == (400, "invalid-forwarded-for")
    assert len(str(caught.value)) < 120


@given(st.text(), st.sampled_from(["203.0.113.7", "2001:db8::7"]))
def test_addresses_that_the_client_wrote_are_ignored(written, address):
    forwarded_for = f"{written}, {address}, 10.0.0.2".encode("latin-1", "replace")
    assert client_address("10.0.0.1", {b"x-forwarded-for": forwarded_for}, trusts) == address


def test_only_the_headers_of_the_configured_gateway_are_collected():
    names = {name.lower().encode() for name in FORWARD}
    assert {name: len(gateway.headers & names) for name, gateway in GATEWAYS.items()} == {"nginx": 2, "forwarded": 2, "envoy": 0, "none": 4}


def test_a_refused_description_is_a_problem_and_one_line_in_the_log():
    rules = loads("policies: { p: { limits: [1/day] } }\nidentify: { anonymous: p, gateway: nginx, trusted_proxies: [10.0.0.1] }\n")
    scope = {"raw_path": b"/authorize", "method": "GET", "client": ("10.0.0.1", 4711), "scheme": "http", "headers": []}
    view = View(rules, Directory(rules), "lim")
    with capture_logs() as logged:
        answers = [resolve(view, scope, view.original) for _ in range(3)]
    detail = "The gateway must send X-Original-Method and X-Original-URI: identify.gateway is nginx."
    assert [(answer.status, json.loads(answer.body)["detail"]) for answer in answers] == [(400, detail)] * 3
    assert [(line["log_level"], line["detail"]) for line in logged] == [("warning", detail)]
