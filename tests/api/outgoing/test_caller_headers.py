"""Upstream learns who calls from the sidecar alone."""

import itertools
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter.api.answers import Answer
from limiter.api.config.loader import ConfigError, loads
from limiter.api.outgoing.caller_headers import Caller, CallerHeaders
from limiter.api.proxy.request_head import RequestTranslator
from support.servers.echo_upstream import echo_upstream
from support.servers.fronts import fronts
from support.servers.sidecar import ask, digest, sidecar

SECRET = "a-secret-of-the-tests"  # noqa: S105 - for tests only
NAMES = ("X-Limiter-Account", "X-Limiter-Key", "X-Limiter-Tier", "X-Limiter-Signature")
CONFIG = """
policies:
  standard: {{ limits: [5/minute] }}
  by-address: {{ limits: [1000/minute] }}
tiers:
  pro: {{ key: standard }}
identify: {{ anonymous: by-address }}
routes:
  - {{ path: /health, exempt: true }}
redis: {{ deadline: 5s, prefix: {prefix} }}
keys:
{keys}
{more}
"""
KEYS = "\n".join(f'  - {{ name: key-{n}, digest: "sha256:{digest(f"key-{n}-secret")}", tier: pro, account: acme }}' for n in range(100))
_unused = itertools.count()


@pytest.fixture
def name():
    """The name of a key that no other test uses."""
    return f"key-{next(_unused)}"


@pytest.fixture(scope="module")
def fronts_of(server, tmp_path_factory):
    """The URL of each kind of front."""
    file = tmp_path_factory.mktemp("secret") / "secret"
    file.write_text(f"{SECRET}\n")
    prefix = f"t{uuid.uuid4().hex[:8]}"
    signed = f"caller_headers: {{ include: [tier, account, key], sign: true, secret_file: {file} }}"

    def text(more: str) -> str:
        return CONFIG.format(prefix=prefix, keys=KEYS, more=more)

    with echo_upstream() as upstream:
        configured = {
            "off": (text(""), upstream.url),
            "plain": (text("caller_headers: { include: [account, key] }"), upstream.url),
            "signed": (text(signed), upstream.url),
            "authorize": (text(signed), None),
        }
        with fronts(server.url, **configured) as ports:
            yield {kind: f"http://127.0.0.1:{port}" for kind, port in zip(configured, ports, strict=True)}


def received(base, name=None, path="/items", method="GET", **headers):
    """The headers about the caller that upstream receives, in lower case, each with all of its values."""
    sent = ({"X-API-Key": f"{name}-secret"} if name else {}) | headers
    found: dict[str, list[str]] = {}
    for key, value in ask(base, path, method, sent).json()["headers"]:
        if "limiter" in key.lower():
            found.setdefault(key.lower(), []).append(value)
    return found


def stated(reply):
    return {each.lower(): reply.headers[each] for each in NAMES if each in reply.headers}


def test_upstream_receives_the_account_and_the_id_of_the_key(fronts_of, name):
    assert received(fronts_of["plain"], name) == {"x-limiter-account": ["acme"], "x-limiter-key": [name]}


@pytest.mark.parametrize("path", ["/items", "/health"])
def test_upstream_receives_empty_headers_for_a_request_without_a_key(fronts_of, path):
    assert received(fronts_of["plain"], path=path) == {"x-limiter-account": [""], "x-limiter-key": [""]}


FORGED = [
    "X-Limiter-Account",
    "x-limiter-account",
    "X_Limiter_Account",
    "X-LIMITER_Key",
    "X.Limiter.Tier",
    "X-Limiter-Signature",
    "x_limiter_x",
]


@pytest.mark.parametrize("kind", ["off", "plain", "signed"])
@pytest.mark.parametrize("forged", FORGED)
def test_what_a_client_sends_under_these_names_never_reaches_upstream(fronts_of, name, kind, forged):
    for key in (name, None):
        for path in ("/items", "/health"):
            found = received(fronts_of[kind], key, path, **{forged: "forged"})
            assert "forged" not in str(found)
            assert all(len(values) == 1 for values in found.values())
    dropped = received(fronts_of["plain"], name, Connection="close, X-Limiter-Account, X-Limiter-Key")
    assert dropped == {"x-limiter-account": ["acme"], "x-limiter-key": [name]}


def test_a_key_of_the_registry_is_named_by_its_id_and_the_tier_of_its_account(world):
    new = world(world.keys.issue("acme"))
    assert world(world.directory.look_up(new.raw, None, "")).caller == Caller("acme", new.key.id, "standard")
    assert new.key.id not in new.raw
    world(world.accounts.set("acme", tier="pro"))
    assert world(world.other_directory().look_up(new.raw, None, "")).caller.tier == "pro"


def test_a_trusted_peer_states_no_caller_either():
    translator = RequestTranslator(b"", b"api", keeps_host=True, trusts=lambda _: True)
    headers = [(b"host", b"x"), (b"x-limiter-account", b"forged"), (b"x-limiterless", b"kept"), (b"x-real-ip", b"192.0.2.1")]
    scope = {"method": "GET", "headers": headers, "client": ("127.0.0.1", 1), "scheme": "http", "raw_path": b"/", "query_string": b""}
    head = translator.translate(scope, [(b"x-limiter-account", b"acme")]).head
    assert b"forged" not in head
    assert head.count(b"x-limiter-account: acme\r\n") == 1
    assert b"x-limiterless: kept\r\nx-real-ip: 192.0.2.1\r\n" in head


def test_the_client_does_not_receive_them_from_the_proxy(fronts_of, name):
    reply = ask(fronts_of["signed"], "/items", headers={"X-API-Key": f"{name}-secret"})
    assert (stated(reply), reply.headers["X-RateLimit-Remaining"]) == ({}, "4")


def test_a_gateway_receives_them_for_allowed_requests_alone(fronts_of, name):
    sent = {"X-API-Key": f"{name}-secret"}
    replies = [ask(fronts_of["authorize"], "/authorize/items", headers=sent) for _ in range(6)]
    assert [reply.status for reply in replies] == [200] * 5 + [429]
    for reply in replies[:5]:
        assert stated(reply).items() >= {"x-limiter-account": "acme", "x-limiter-key": name, "x-limiter-tier": "pro"}.items()
        assert reply.headers["X-RateLimit-Limit"] == "5"
    refused = ask(fronts_of["authorize"], "/authorize/items", headers={"X-API-Key": "wrong"})
    assert (refused.status, stated(refused), stated(replies[5])) == (401, {}, {})


@pytest.mark.parametrize("path", ["/authorize/items", "/authorize/health"])
def test_a_gateway_receives_empty_headers_for_a_request_without_a_key(fronts_of, comes_from_limiter, path):
    reply = ask(fronts_of["authorize"], path)
    found = stated(reply)
    assert (reply.status, comes_from_limiter(SECRET, "GET", path.removeprefix("/authorize"), found)) == (200, True)
    assert [found[f"x-limiter-{field}"] for field in ("account", "key", "tier")] == [""] * 3


@pytest.mark.parametrize("path", ["/items", "/a%20b/c?q=1", "/health"])
def test_upstream_can_check_the_signature(fronts_of, comes_from_limiter, name, path):
    found = {key: value for key, (value,) in received(fronts_of["signed"], name, path, "PUT").items()}
    plain = path.partition("?")[0]
    assert comes_from_limiter(SECRET, "PUT", plain, found)
    assert not comes_from_limiter("another-secret-of-the-tests", "PUT", plain, found)
    assert not comes_from_limiter(SECRET, "GET", plain, found)
    assert not comes_from_limiter(SECRET, "PUT", f"{plain}/x", found)
    for changed in ("account", "key", "tier"):
        assert not comes_from_limiter(SECRET, "PUT", plain, found | {f"x-limiter-{changed}": "forged"})
    for wrong in ("", "t=1,v1=x", "v1=", "t=,v1=é", f"t={int(time.time())}"):
        assert not comes_from_limiter(SECRET, "PUT", plain, found | {"x-limiter-signature": wrong})


def test_a_gateway_gets_a_signature_of_the_original_request(fronts_of, comes_from_limiter, name):
    reply = ask(fronts_of["authorize"], "/authorize/items/7?q=1", "POST", {"X-API-Key": f"{name}-secret"})
    assert comes_from_limiter(SECRET, "POST", "/items/7", stated(reply))


def test_worker_processes_sign_with_a_secret_of_the_environment(server, prefix, tmp_path, comes_from_limiter):
    config = CONFIG.format(prefix=prefix, keys=KEYS, more="caller_headers: { include: [key], sign: true }")
    with sidecar(tmp_path, config, "--workers", "2", redis=server.url, env={"LIMITER_CALLER_SECRET": SECRET}) as running:
        reply = running.ask("/authorize/items", key="key-0-secret")
        assert "unknown variable" not in running.output
    assert reply.headers["X-Limiter-Key"] == "key-0"
    assert comes_from_limiter(SECRET, "GET", "/items", stated(reply))


def test_an_old_signature_is_refused(comes_from_limiter):
    now = time.time()
    for age, valid in ((0, True), (55, True), (70, False), (-70, False)):
        headers = CallerHeaders(["key"], SECRET.encode(), lambda age=age: now - age)
        answer = headers.signed(headers.stated(Caller(key="k"), Answer(200, b"x-other: 1\r\n")), "GET", "/")
        sent = {name.decode(): value.decode() for name, value in answer.headers}
        assert comes_from_limiter(SECRET, "GET", "/", sent) is valid


@given(st.builds(Caller, *[st.text(st.characters(codec="utf-8"), max_size=20)] * 3))
def test_any_name_is_safe_in_a_header_and_signed_as_it_is_sent(comes_from_limiter, caller):
    headers = CallerHeaders(["account", "key", "tier"], SECRET.encode())
    answer = headers.signed(headers.stated(caller, Answer(200, b"x-other: 1\r\n")), "GET", "/")
    assert len(answer.headers) == 5
    sent = {name.decode(): value.decode("ascii") for name, value in answer.headers}
    assert all(value.isprintable() and " " not in value for value in sent.values())
    assert comes_from_limiter(SECRET, "GET", "/", sent)


def test_the_secret_may_come_from_the_environment_and_must_be_strong(monkeypatch, tmp_path):
    text = "policies: { p: { limits: [1/day] } }\ncaller_headers:\n  include: [key]\n  sign: true\n"
    monkeypatch.setenv("LIMITER_CALLER_SECRET", SECRET)
    assert loads(text).caller_headers.signs
    monkeypatch.setenv("LIMITER_CALLER_SECRET", "short")
    with pytest.raises(ConfigError, match="LIMITER_CALLER_SECRET must have 16 to 512") as raised:
        loads(text)
    assert "short" not in str(raised.value).replace("shorten", "")
    (tmp_path / "secret").write_text("weak secret")
    with pytest.raises(ConfigError, match="must have 16 to 512 printable ASCII characters"):
        loads(f"{text}  secret_file: {tmp_path}/secret\n")
