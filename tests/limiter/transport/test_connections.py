"""Connections from a URL, or with the options of the caller's client."""

import asyncio
import subprocess

import psutil
import pytest
import redis
import redis.asyncio

from limiter import AsyncLimiter, BackendError, Charge, InvalidPolicy, Limiter, Policy, SlidingWindow
from support.drivers import CLIENTS, limiter_of
from support.servers.redis_server import free_port, redis_server
from support.servers.relay import lost, relay_to

POLICY = Policy("standard", [SlidingWindow(100, 60)])
LONG = Policy("long", [SlidingWindow(100, 60 + number, f"limit-{number}") for number in range(16)])
PASSWORD = "correct horse / battery"  # noqa: S105 - of a server that lives as long as this module


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with a password, a user with only the rights that a limiter needs, and a unix socket."""
    path = tmp_path_factory.mktemp("socket") / "redis.sock"
    with redis_server(options=("--unixsocket", str(path))) as running:
        with running.client() as admin:
            commands = ["+evalsha", "+eval", "+time", "+get", "+getrange", "+set", "+setrange", "+pexpireat", "+del"]
            admin.execute_command("ACL", "SETUSER", "limiter", "on", f">{PASSWORD}", "~lim:*", *commands)
            admin.config_set("requirepass", PASSWORD)
        running.socket = path
        yield running
        with running.client(password=PASSWORD) as admin:
            admin.config_set("requirepass", "")


def client_of(client, **options):
    return (redis.Redis if client == "sync" else redis.asyncio.Redis)(**options)


def takes(client, source):
    with limiter_of(client, source) as limiter:
        limiter.reset(POLICY, "key")
        return [limiter.take(POLICY, "key").remaining for _ in range(2)] == [99, 98]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"decode_responses": True},
        {"encoding": "latin-1", "decode_responses": True},
        {"protocol": 2},
        {"protocol": 3},
        {"db": 5},
        {"socket_timeout": 5, "socket_connect_timeout": 5, "socket_keepalive": True},
        {"health_check_interval": 1},
        {"retry_on_error": [redis.TimeoutError]},
        {"client_name": "ours"},
        {"max_connections": 1},
        {"single_connection_client": True},
    ],
    ids=str,
)
def test_a_client_with_any_options_is_accepted(server, client, options):
    assert takes(client, client_of(client, port=server.port, **options))


@pytest.mark.parametrize("client", CLIENTS)
def test_the_database_in_the_url_is_used(server, client):
    with redis.Redis(port=server.port, db=7) as seventh:
        seventh.flushdb()
        with limiter_of(client, server.url.removesuffix("/0") + "/7") as limiter:
            limiter.take(POLICY, "key")
        assert list(seventh.scan_iter()) == [b"lim:{key}:key:standard"]
        seventh.flushdb()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_password_a_user_and_a_unix_socket_work(guarded, client):
    quoted = PASSWORD.replace(" ", "%20").replace("/", "%2F")
    assert takes(client, f"redis://:{quoted}@127.0.0.1:{guarded.port}")
    assert takes(client, f"redis://limiter:{quoted}@127.0.0.1:{guarded.port}")
    assert takes(client, f"unix://{guarded.socket}?password={quoted}")
    assert takes(client, client_of(client, port=guarded.port, username="limiter", password=PASSWORD))
    assert takes(client, client_of(client, unix_socket_path=str(guarded.socket), password=PASSWORD))


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory):
    """A server with a TLS port and a self-signed certificate."""
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(cert), "-keyout", str(key)]
    subprocess.run(made, check=True, capture_output=True)
    tls = ("--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key), "--tls-ca-cert-file", str(cert))
    with redis_server(options=(*tls, "--tls-auth-clients", "no")):
        yield port, cert


@pytest.mark.parametrize("client", CLIENTS)
def test_tls_works(over_tls, client, prefix):
    port, cert = over_tls
    assert takes(client, f"rediss://127.0.0.1:{port}?ssl_ca_certs={cert}")
    assert takes(client, client_of(client, host="localhost", port=port, ssl=True, ssl_ca_certs=str(cert)))
    with limiter_of(client, f"rediss://127.0.0.1:{port}?ssl_ca_certs={cert}", prefix=prefix) as limiter:
        # Longer than a TLS record, and than one read.
        decisions = limiter.take_many([Charge(LONG, f"{number}-{'x' * 200}") for number in range(500)])
        assert [decision.limits[0].used for decision in decisions] == [1] * 500


@pytest.mark.parametrize("client", CLIENTS)
def test_an_untrusted_certificate_is_refused(over_tls, client):
    with limiter_of(client, f"rediss://127.0.0.1:{over_tls[0]}") as limiter, pytest.raises(BackendError, match=r"(?i)certificate verify"):
        limiter.take(POLICY, "key")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_missing_password_is_a_clear_error(guarded, client):
    with limiter_of(client, guarded.url) as limiter, pytest.raises(BackendError, match=r"(?i)auth"):
        limiter.take(POLICY, "key")


@pytest.mark.parametrize("client", CLIENTS)
def test_the_client_of_the_caller_is_not_modified(server, client):
    source = client_of(client, port=server.port, decode_responses=True, socket_timeout=3)
    before = dict(source.connection_pool.connection_kwargs)
    assert takes(client, source)
    assert source.connection_pool.connection_kwargs == before
    if client == "sync":
        assert source.echo("still ours") == "still ours"
        source.close()


def test_each_limiter_refuses_the_other_kind_of_client(server):
    with redis.Redis(port=server.port) as blocking, pytest.raises(InvalidPolicy, match=r"must be a URL .* or a redis\.asyncio\.Redis"):
        AsyncLimiter(blocking)
    with pytest.raises(InvalidPolicy, match=r"or a redis\.Redis"):
        Limiter(redis.asyncio.Redis(port=server.port))


@pytest.mark.parametrize("limiter", [Limiter, AsyncLimiter])
@pytest.mark.parametrize(
    "source", ["", "localhost", "localhost:6379", "http://localhost", "redis://localhost:port", None, 6379, b"redis://localhost"]
)
def test_an_invalid_source_is_refused(limiter, source):
    with pytest.raises(InvalidPolicy):
        limiter(source)


def test_an_error_about_a_url_does_not_show_its_password():
    with pytest.raises(InvalidPolicy) as caught:
        Limiter("redis://user:hunter2@localhost:port")
    assert "hunter2" not in str(caught.value)
    assert "user" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "a b", "a:b", "{a}", None, 5, "x" * 65])
def test_an_invalid_prefix_is_refused(server, prefix):
    for limiter in (Limiter, AsyncLimiter):
        with pytest.raises(InvalidPolicy, match=r"^prefix"):
            limiter(server.url, prefix=prefix)


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), float("inf"), 10**400, "0.05", None, True])
def test_an_invalid_deadline_is_refused(server, deadline):
    for limiter in (Limiter, AsyncLimiter):
        with pytest.raises(InvalidPolicy, match=r"^deadline"):
            limiter(server.url, deadline=deadline)


def test_the_longest_deadline_works(server, prefix):
    with Limiter(server.url, prefix=prefix, deadline=2_000_000) as limiter:
        assert limiter.take(POLICY, "key").allowed

    async def scenario():
        async with AsyncLimiter(server.url, prefix=prefix, deadline=2_000_000) as limiter:
            return await limiter.take(POLICY, "key")

    assert asyncio.run(scenario()).limits[0].used == 2


def test_closing_does_not_wait_for_a_tls_peer(over_tls, prefix):
    """The event loop may end before the peer confirms the shutdown, and would leave the socket open."""
    port, cert = over_tls
    with relay_to(port) as relay:
        url = relay.url.replace("redis://", "rediss://")
        with limiter_of("async", f"{url}?ssl_ca_certs={cert}", prefix=prefix) as limiter:
            limiter.take(POLICY, "key")
            relay.answer = lost
        peers = [connection.raddr for connection in psutil.Process().net_connections() if connection.raddr]
        assert not [peer for peer in peers if f":{peer.port}/" in relay.url]
