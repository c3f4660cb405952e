"""No client can describe another request than its own, through any gateway of examples/gateways."""

import posixpath
from urllib.parse import unquote, urlsplit

import pytest

from support.servers.sidecar import sidecar
from support.waiting import eventually

# What clients may forge: the headers of all families, repeated, and the order to drop those of the gateway.
FORGED = [
    ("X-Original-Method: GET",),
    ("X-Original-Method: GET", "X-Original-URI: PATH"),
    ("X-Forwarded-Method: GET", "X-Forwarded-Uri: PATH"),
    ("X-Original-Method: GET", "X-Original-URI: PATH", "X-Forwarded-Method: GET", "X-Forwarded-Uri: PATH"),
    ("X-Original-URI: PATH", "X-Original-URI: PATH", "X-Forwarded-Uri: PATH", "X-Forwarded-Uri: PATH"),
    ("Connection: X-Forwarded-Method, X-Forwarded-Uri, X-Original-Method, X-Original-URI, X-Forwarded-For",),
    ("X-Forwarded-Path: PATH", "X-Original-URL: PATH", "X-Rewrite-URL: PATH", "X-Forwarded-Prefix: PATH"),
    ("X-HTTP-Method-Override: GET", "X-Envoy-Original-Path: PATH", "X-Envoy-Original-Method: GET"),
]


@pytest.mark.parametrize("forged", FORGED, ids=" ".join)
def test_a_client_cannot_choose_the_method_that_is_judged(guarded, key, forged):
    logins = [guarded.ask("/login", *at("/login", forged), method="POST", key=key).status for _ in range(3)]
    statuses = guarded.ask("/status", *at("/status", forged), method="POST").status
    if guarded.program == "envoy" and forged[0].startswith("Connection"):
        assert {*logins, statuses} == {400}  # of Envoy itself
    else:
        assert (logins, statuses) == ([200, 200, 429], 401)


@pytest.mark.parametrize("forged", FORGED, ids=" ".join)
def test_a_client_cannot_choose_the_path_that_is_judged(guarded, forged):
    for path in ("/", "/files"):
        assert guarded.ask(path, *at("/health", forged)).status in (400, 401)


def at(path, forged):
    return [line.replace("PATH", path) for line in forged]


def test_an_exempt_method_exempts_no_other(guarded):
    assert guarded.ask("/status").status == 200
    assert guarded.ask("/status", method="POST").status == 401
    assert guarded.ask("/health", method="POST").status == 200


@pytest.mark.parametrize("forged", [("203.0.113.7",), ("203.0.113.7", "203.0.113.7"), ("unknown",), ("203.0.113.7, 127.0.0.1",)])
def test_a_client_cannot_choose_its_address(guarded, forged):
    lines = [f"X-Forwarded-For: {address}" for address in forged]
    for also in ((), ("X-Real-IP: 203.0.113.7", "X-Envoy-External-Address: 203.0.113.7", "Forwarded: for=203.0.113.7")):
        answer = guarded.ask("/files", *lines, *also, key="inside-key")
        assert answer.status == 403


FORGED_NUMBERS = ["RateLimit: forged", "X-RateLimit-Remaining: 7", "X-RateLimit-Status: 200", "X-Limiter-Answered: yes"]


def test_a_client_cannot_choose_the_numbers_of_its_response(guarded, key):
    exempt = guarded.ask("/health", *FORGED_NUMBERS)
    assert (exempt.status, [name for name, _ in exempt.headers if b"ratelimit" in name]) == (200, [])
    counted = guarded.ask("/files", *FORGED_NUMBERS, key=key)
    assert (counted.status, counted.values(b"x-ratelimit-remaining")) == (200, [b"2"])


# Ways to write a path below /convert, and to make it look like the exempt path /health.
ODD_PATHS = [
    "//convert/a",
    "/%63onvert/a",
    "/convert%2fa",
    "/./convert/a",
    "/\\convert/a",
    "/health/../convert/a",
    "/health%2f..%2fconvert/a",
    "/health/%2e%2e/convert/a",
    "/health/..;/convert/a",
    "/health;/../convert/a",
    "/health#/../convert/a",
    "/health?/../convert/a",
    "http://api.test/convert/a",
    "http://api.test/health/../convert/a",
]


def test_no_odd_path_gets_past_a_route(guarded):
    """The client has no key, and everything below /convert needs one."""
    for target in ODD_PATHS:
        answer = guarded.ask(target)
        if answer.status == 200:
            reached = posixpath.normpath(unquote(urlsplit(answer.body.decode().split()[1]).path))
            assert "convert" not in reached, target


def test_a_large_upload_is_judged_without_its_body(guarded, key):
    answer = guarded.ask("/upload", method="POST", key=key, body=b"x" * 3_000_000)
    assert (answer.status, answer.body) == (200, b"3000000")


def test_each_request_of_a_connection_is_judged(guarded, key):
    with guarded.client() as client:
        answers = [client.send(guarded.request("/files", key=key)).answer().status for _ in range(4)]
    assert answers == [200, 200, 200, 429]


@pytest.mark.parametrize(
    ("identify", "reason", "warning"),
    [
        ("trusted_proxies: [127.0.0.1]", "gateway-not-configured", "identify.gateway is not set"),
        ("gateway: forwarded", "untrusted-gateway", "no peer is trusted"),
    ],
)
def test_a_gateway_that_is_not_believed_is_refused_and_the_log_says_why(identify, reason, warning, server, prefix, tmp_path):
    text = f"policies: {{ p: {{ limits: [9/minute] }} }}\nidentify: {{ anonymous: p, {identify} }}\nredis: {{ prefix: {prefix} }}\n"
    with sidecar(tmp_path, text, redis=server.url) as running:
        reply = running.ask(headers={"X-Forwarded-Method": "POST", "X-Forwarded-Uri": "/login"})
        assert (reply.status, reply.json()["reason"]) == (403, reason)
        refused = eventually(lambda: [line for line in running.log if line.get("reason") == reason], "the warning of the refusal")
        assert [line["detail"] for line in refused] == [reply.json()["detail"]]
        assert any(warning in line["event"] and line["level"] == "warning" for line in running.log)
