"""Real gateways, with the configurations in examples/: what they pass on, and that no client can describe another request than its own."""

import contextlib
import itertools
import re
import socket
from dataclasses import dataclass

import pytest

from limiter.api.config.loader import loads
from support.proxy.raw_client import Client, request
from support.servers.gateways import EXAMPLE, Api, gateway
from support.servers.redis_server import free_port
from support.servers.sidecar import digest, sidecar
from support.waiting import eventually

KEYS = 100
# The address of the clients. Unlike the gateways at 127.0.0.1, it is not trusted.
CLIENT = "127.0.0.2"
FAMILIES = {"nginx": "nginx", "caddy": "forwarded", "haproxy": "forwarded", "envoy": "envoy", "traefik": "forwarded"}
# Traefik does not pass the headers of an allowed answer on to the client, but to the API.
TO_THE_CLIENT = {"nginx", "caddy", "haproxy", "envoy"}

# An Envoy that passes more headers on than it should.
LOOSENED = {"envoy": lambda text: text.replace("{ exact: x-api-key }", "{ prefix: x- }")}

CONFIG = """
policies:
  standard: {{ limits: [3/minute], failure: open }}
  login: {{ limits: [2/minute], failure: open }}
tiers:
  free: {{ key: standard }}
identify:
  gateway: {family}
  trusted_proxies: [127.0.0.1]
deny_status: {deny_status}
redis: {{ prefix: {prefix}, deadline: 5s }}
routes:
  - {{ path: /health, exempt: true }}
  - {{ path: /status, method: GET, exempt: true }}
  - {{ path: /login, method: POST, policy: login }}
  - {{ path: /convert/*, scope: "convert:write" }}
keys:
  - {{ name: inside, digest: "sha256:{inside}", tier: free, addresses: [203.0.113.0/24] }}
{keys}
"""

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


@dataclass(frozen=True)
class Guarded:
    program: str
    port: int
    api: Api

    def ask(self, target, *lines, method="GET", key=None):
        credential = [f"Authorization: Bearer {key}"] if key else []
        with Client(self.port, CLIENT) as client:
            return client.send(request(target, *lines, *credential, method=method)).answer(method)


@pytest.fixture(scope="module")
def api():
    with Api() as running:
        yield running


@pytest.fixture(scope="module")
def sidecars(server, tmp_path_factory):
    """One sidecar for each family of headers, started when a gateway needs it."""
    with contextlib.ExitStack() as stack:
        running = {}

        def of(family):
            if family not in running:
                text = config(family)
                running[family] = stack.enter_context(sidecar(tmp_path_factory.mktemp(family), text, redis=server.url))
            return running[family]

        yield of


def config(family):
    keys = "\n".join(f'  - {{ name: {family}-{n}, digest: "sha256:{digest(f"{family}-{n}-key")}", tier: free }}' for n in range(KEYS))
    status = 403 if family == "nginx" else 429
    return CONFIG.format(family=family, deny_status=status, prefix=f"gateways-{family}", inside=digest("inside-key"), keys=keys)


@pytest.fixture(scope="module", params=FAMILIES)
def guarded(request, sidecars, api, tmp_path_factory):
    program = request.param
    front = sidecars(FAMILIES[program]).port
    with gateway(program, tmp_path_factory.mktemp(program), front, api.port, LOOSENED.get(program, str)) as port:
        yield Guarded(program, port, api)


_unused = itertools.count()


@pytest.fixture
def key(guarded):
    return f"{FAMILIES[guarded.program]}-{next(_unused)}-key"


def numbers(answer):
    return {name.decode(): value.decode() for name, value in answer.headers if b"ratelimit" in name}


def test_the_status_and_the_numbers_of_an_answer_arrive(guarded, key):
    allowed = [guarded.ask("/files?x=1", key=key) for _ in range(3)]
    assert [(answer.status, answer.body) for answer in allowed] == [(200, b"GET /files?x=1")] * 3
    if guarded.program in TO_THE_CLIENT:
        # Those of the API are replaced.
        assert [answer.values(b"x-ratelimit-remaining") for answer in allowed] == [[b"2"], [b"1"], [b"0"]]
        assert numbers(allowed[0])["ratelimit-policy"] == '"minute";q=3;w=60'
        assert allowed[0].values(b"ratelimit") == [b'"minute";r=2;t=60']
    else:
        assert (guarded.api.numbers["x-ratelimit-remaining"], guarded.api.numbers["x-ratelimit-limit"]) == ("0", "3")

    denied = guarded.ask("/files", key=key)
    assert (denied.status, denied.problem["status"]) == (429, 429)
    assert denied.problem["type"].endswith("#quota-exceeded")
    assert int(denied.values(b"retry-after")[0]) >= 1
    assert denied.values(b"x-ratelimit-remaining") == [b"0"]
    assert denied.values(b"cache-control") == [b"no-store"]


def test_a_refused_key_gets_401_with_a_problem(guarded):
    answer = guarded.ask("/files", key="nonsense")
    assert (answer.status, answer.problem["status"]) == (401, 401)
    assert answer.values(b"www-authenticate") == [b'Bearer realm="limiter", error="invalid_token"']
    assert answer.values(b"content-type") == [b"application/problem+json"]


def test_a_missing_scope_gets_403(guarded, key):
    assert guarded.ask("/convert/a", key=key).status == 403


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


def test_a_large_upload_is_judged_without_its_body(guarded, key):
    with Client(guarded.port, CLIENT) as client:
        upload = request("/files", f"Authorization: Bearer {key}", method="POST", body=b"x" * 3_000_000)
        assert client.send(upload).answer().status == 200


def test_each_request_of_a_connection_is_judged(guarded, key):
    with Client(guarded.port, CLIENT) as client:
        answers = [client.send(request("/files", f"Authorization: Bearer {key}")).answer().status for _ in range(4)]
    assert answers == [200, 200, 200, 429]


@pytest.mark.parametrize("program", FAMILIES)
def test_the_head_of_an_example_names_the_configuration_of_the_sidecar(program):
    comments = re.findall(r"(?m)^#     (.*)$", EXAMPLE[program].read_text())
    policies = ["policies: { standard: { limits: [1/minute] } }", "tiers: { free: { key: standard } }"]
    rules = loads("\n".join([*policies, *comments]))
    assert (rules.gateway.name, rules.warnings) == (FAMILIES[program], ())
    assert rules.trusts("127.0.0.1")


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


# The statuses while nothing listens, and while the sidecar accepts connections but does not answer. Traefik waits 30 s for it.
AWAY = {"nginx": (503, 503), "caddy": (502, 504), "haproxy": (503, 504), "envoy": (503, 503), "traefik": (500, None)}


@pytest.mark.parametrize("program", AWAY)
def test_no_request_passes_while_the_sidecar_is_away_or_hangs(program, api, tmp_path):
    with socket.socket() as absent:
        absent.bind(("127.0.0.1", 0))
        with gateway(program, tmp_path, absent.getsockname()[1], api.port) as port:
            statuses = [status_of(port)]
            absent.listen()
            if program != "traefik":
                statuses.append(status_of(port))
                asked = connections(absent)
                assert asked == 1  # a request is not repeated, because it may have been charged
    assert (*statuses, None)[:2] == AWAY[program]


def status_of(port):
    with Client(port, CLIENT) as client:
        return client.send(request("/files")).answer().status


def connections(listener):
    """How many are waiting to be accepted."""
    listener.settimeout(0)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def test_nginx_can_let_requests_pass_while_the_sidecar_is_away(api, tmp_path):
    def opened(text):
        return text.replace("# error_page 502 504 = @open;", "error_page 502 504 = @open;")

    with gateway("nginx", tmp_path, free_port(), api.port, opened) as port, Client(port, CLIENT) as client:
        answer = client.send(request("/files")).answer()
        assert (answer.status, answer.body) == (200, b"GET /files")
