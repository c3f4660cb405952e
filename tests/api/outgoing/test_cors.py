"""Cross-origin requests: preflights pass, a page that may call reads every answer, and no other page reads any."""

import asyncio
import itertools
import uuid

import pytest

from limiter import AsyncLimiter
from limiter.api.config.loader import loads
from limiter.api.front import Front
from limiter.api.server.protocol import _is_plain
from limiter.problems import REDUCED_CAPACITY
from support.servers.echo_upstream import echo_upstream
from support.servers.fronts import Watched, fronts
from support.servers.sidecar import ask, digest

APP, OTHER = "https://app.example.com", "https://evil.example"

CONFIG = """
policies:
  standard: {{ limits: [3/minute, 100/hour], failure: closed }}
  many: {{ limits: [1000/minute], failure: open }}
  preflights: {{ limits: [3/minute], failure: open }}
tiers:
  free: {{ key: standard }}
identify: {{ guard: many, gateway: none, trusted_proxies: [127.0.0.1] }}
routes:
  - {{ path: /health, exempt: true }}
  - {{ path: /write, scope: "write", cost: 3 }}
redis: {{ deadline: 5s, prefix: {prefix} }}
keys:
  - {{ name: gone, digest: "sha256:{gone}", tier: free, state: revoked }}
{keys}
{more}
"""
CORS = "cors: {{ origins: [{origins}], expose: [X-Request-Id], max_age: 1h, guard: preflights }}\n"


@pytest.fixture(scope="module")
def upstream():
    with echo_upstream() as running:
        yield running


_unused = itertools.count()
KEYS = "\n".join(f'  - {{ name: app-{n}, digest: "sha256:{digest(f"app-{n}-secret")}", tier: free }}' for n in range(100))


def text(prefix: str, more: str) -> str:
    return CONFIG.format(prefix=prefix, gone=digest("gone-secret"), keys=KEYS, more=more)


@pytest.fixture
def key():
    """A raw key that no other test uses."""
    return f"app-{next(_unused)}-secret"


@pytest.fixture(scope="module")
def front(server, upstream):
    """The URL of each kind of front."""
    prefix, some = f"t{uuid.uuid4().hex[:8]}", CORS.format(origins=f"{APP}, http://localhost:3000")
    configured = {
        "proxy": (text(prefix, some), upstream.url),
        "authorize": (text(prefix, some), None),
        "forbidden": (text(prefix, f"{some}deny_status: 403\n"), None),
        "anyone": (text(prefix, CORS.format(origins="'*'")), upstream.url),
        "off": (text(prefix, ""), upstream.url),
    }
    with fronts(server.url, **configured) as ports:
        yield {name: f"http://127.0.0.1:{port}" for name, port in zip(configured, ports, strict=True)}


def call(base, key=None, path="/items", method="GET", origin=APP, **headers):
    sent = {"X-API-Key": key} if key else {}
    sent |= {"Origin": origin} if origin else {}
    return ask(base, path, method, sent | {name.replace("_", "-"): value for name, value in headers.items()})


def preflight(base, path="/items", origin=APP, **headers):
    return call(base, None, path, "OPTIONS", origin, **{"Access_Control_Request_Method": "POST"} | headers)


def allowed(reply):
    return reply.headers.get_all("Access-Control-Allow-Origin", [])


def exposed(reply):
    return {name.strip().lower() for line in reply.headers.get_all("Access-Control-Expose-Headers", []) for name in line.split(",")}


def test_the_proxy_answers_a_preflight_itself_and_charges_nothing(front, upstream, key):
    for _ in range(5):
        reply = preflight(front["proxy"], Access_Control_Request_Headers="x-api-key")
        assert (reply.status, reply.body, allowed(reply), reply.headers["Vary"]) == (200, b"", [APP], "Origin")
    assert reply.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST, PUT, PATCH, DELETE"
    assert reply.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type, X-API-Key"
    assert reply.headers["Access-Control-Max-Age"] == "3600"
    assert "Access-Control-Allow-Credentials" not in reply.headers
    assert ("OPTIONS", "/items") not in upstream.seen
    assert call(front["proxy"], key).headers["X-RateLimit-Remaining"] == "2"


def test_a_gateway_may_pass_a_preflight_which_is_charged_to_its_address(front):
    for path in ("/authorize/items", "/authorize/write", "/authorize"):
        assert preflight(front["authorize"], path, X_Forwarded_For="198.51.100.1").status == 200
    denied = preflight(front["authorize"], "/authorize/items", X_Forwarded_For="198.51.100.1")
    assert (denied.status, allowed(denied)) == (429, [APP])
    assert preflight(front["authorize"], "/authorize/items", X_Forwarded_For="198.51.100.2").status == 200


@pytest.mark.parametrize("kind", ["proxy", "authorize"])
@pytest.mark.parametrize(
    "change",
    [
        {"origin": OTHER},
        {"origin": "null"},
        {"origin": ""},
        {"origin": f"{APP}, {OTHER}"},
        {"origin": f"{APP}."},
        {"origin": "https://APP.example.com"},
        {"origin": "*"},
        {"Access_Control_Request_Method": ""},
        {"Authorization": "Bearer wrong"},
        {"X_API_Key": "wrong"},
    ],
    ids=str,
)
def test_any_other_options_request_needs_a_key(front, upstream, kind, change):
    seen = len(upstream.seen)
    reply = preflight(front[kind], "/authorize/items" if kind == "authorize" else "/items", **change)
    assert reply.status == 401
    assert allowed(reply) == ([APP] if change.get("origin", APP) == APP else [])
    assert len(upstream.seen) == seen


def test_without_cors_a_preflight_needs_a_key_and_no_answer_has_its_headers(front, key):
    replies = [preflight(front["off"]), call(front["off"], key), call(front["off"])]
    assert [reply.status for reply in replies] == [401, 200, 401]
    assert not any(name.lower().startswith(("access-control", "vary")) for reply in replies for name in reply.headers)


def test_a_path_that_is_refused_is_no_preflight_for_a_gateway(front):
    assert preflight(front["authorize"], "/authorize/a/../b").status == 400


@pytest.mark.parametrize("kind", ["proxy", "authorize", "forbidden"])
def test_every_denial_can_be_read_by_a_page_that_may_call_and_by_no_other(front, kind, key):
    base, at = front[kind], "" if kind == "proxy" else "/authorize"
    assert [call(base, key, f"{at}/items").status for _ in range(3)] == [200] * 3
    denials = [(429, "/items", key), (401, "/items", None), (401, "/items", "gone-secret"), (403, "/write", key), (400, "/a//b", key)]
    for status, path, sent in denials:
        reply = call(base, sent, at + path)
        assert reply.status == (403 if kind == "forbidden" and status != 401 else status)
        assert (allowed(reply), reply.headers["Vary"]) == ([APP], "Origin")
        assert {"ratelimit", "ratelimit-policy", "retry-after", "x-ratelimit-remaining", "x-request-id"} <= exposed(reply)
        for origin in (OTHER, None, "null"):
            unreadable = call(base, sent, at + path, origin=origin)
            assert (allowed(unreadable), exposed(unreadable), unreadable.headers["Vary"]) == ([], set(), "Origin")


def test_the_answers_of_upstream_are_readable_with_their_numbers(front, key):
    reply = call(front["proxy"], key)
    assert (reply.status, allowed(reply), reply.headers["X-RateLimit-Remaining"]) == (200, [APP], "2")
    assert {"ratelimit", "retry-after", "x-ratelimit-reset"} <= exposed(reply)
    assert allowed(call(front["proxy"], key, origin=OTHER)) == []
    assert allowed(call(front["proxy"], path="/health")) == [APP]


def test_upstreams_own_cors_headers_are_neither_doubled_nor_overridden(front, key):
    own = call(front["proxy"], key, Answer_With="Access-Control-Allow-Origin: https://other.example")
    assert allowed(own) == ["https://other.example"]
    more = call(front["proxy"], key, Answer_With="Access-Control-Expose-Headers: ETag")
    assert len(more.headers.get_all("Access-Control-Expose-Headers")) == 1
    assert {"etag", "ratelimit"} <= exposed(more)
    assert exposed(call(front["proxy"], key, origin=OTHER, Answer_With="Access-Control-Expose-Headers: ETag")) == {"etag"}


def test_any_origin_may_call_if_the_file_says_so(front, key):
    for origin in (OTHER, "null", APP):
        reply = preflight(front["anyone"], origin=origin)
        assert (reply.status, allowed(reply), reply.headers["Vary"]) == (200, ["*"], None)
    assert allowed(call(front["anyone"], key)) == allowed(call(front["anyone"], origin=None)) == ["*"]


def test_an_error_of_the_proxy_can_be_read(server, prefix, key):
    """Nothing listens at the upstream."""
    with fronts(server.url, proxy=(text(prefix, CORS.format(origins=APP)), "http://127.0.0.1:1")) as (port,):
        reply = call(f"http://127.0.0.1:{port}", key)
    assert (reply.status, allowed(reply), "ratelimit" in exposed(reply)) == (502, [APP], True)


@pytest.mark.parametrize("upstream", [None, "http://127.0.0.1:1"])
def test_the_answers_without_redis_can_be_read(prefix, key, upstream):
    with fronts("redis://127.0.0.1:1", front=(text(prefix, CORS.format(origins=APP)), upstream)) as (port,):
        reply = call(f"http://127.0.0.1:{port}", key, "/authorize/items")
    assert (reply.status, allowed(reply), reply.json()["type"]) == (503, [APP], REDUCED_CAPACITY)


@pytest.mark.parametrize(
    ("target", "more", "status"), [(b"/items", "", 503), (b"/authorize", "", 503), (b"/authorize", "deny_status: 403", 403)]
)
def test_a_request_that_is_shed_can_be_read(server, prefix, target, more, status):
    async def shed(*headers):
        rules = loads(text(prefix, CORS.format(origins=APP) + more))
        async with AsyncLimiter(server.url) as limiter:
            return Front(Watched(rules), limiter).shed(target, headers)

    answer = asyncio.run(shed((b"origin", APP.encode())))
    assert (answer.status, dict(answer.headers)[b"access-control-allow-origin"]) == (status, APP.encode())
    assert b"access-control" not in asyncio.run(shed((b"origin", OTHER.encode()))).head


def test_a_request_of_a_page_is_read_before_it_is_shed():
    """Its answer depends on its origin."""
    assert _is_plain(b"GET /authorize HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not _is_plain(b"GET /authorize HTTP/1.1\r\nHost: x\r\norigin: https://app.example.com\r\n\r\n")


def test_the_guard_of_preflights_is_a_policy_of_the_file_or_600_a_minute():
    base = "policies: { p: { limits: [9/minute] }, q: { limits: [9/minute] } }\nidentify: { anonymous: p }\nfailure: closed\n"
    rules = loads(f"{base}cors: {{ origins: [{APP}], guard: q }}")
    assert (rules.cors.guard, rules.warnings) == (rules.policies["q"], ())
    default = loads(f"{base}cors: {{ origins: [{APP}] }}").cors.guard
    assert ([limit.name for limit in default.limits], default.limits[0].capacity, default.failure) == (["minute"], 600, "closed")


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "https://a.example:8443", "http://[::1]:8080", "http://127.0.0.1", "capacitor://localhost"]
)
def test_an_origin_may_have_any_scheme_and_port(origin):
    assert loads(f"policies: {{ p: {{ limits: [9/minute] }} }}\ncors: {{ origins: ['{origin}'] }}").cors is not None
