"""Whatever path a client sends, through nginx, Caddy and the sidecar's proxy to real file servers: it does not get past a route.

The client has no key, and `/convert/**` needs one. So it must never get the file below `/convert`.
"""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.examples import examples
from support.proxy.raw_client import Client, Truncated, request
from support.servers import file_servers
from support.servers.file_servers import dispatching, started_together
from support.servers.fronts import fronts
from support.servers.sidecar import digest

CONFIG = """
policies:
  everyone: {{ limits: [10000000/minute] }}
tiers:
  free: {{ key: everyone }}
identify:
  anonymous: everyone
  trusted_proxies: [127.0.0.1]
  gateway: {gateway}
deny_status: 403
paths: {paths}
redis: {{ prefix: {prefix}, deadline: 5s }}
routes:
  - {{ path: /health, exempt: true }}
  - {{ path: /convert/**, scope: convert }}
keys:
  - {{ name: k, digest: "sha256:{digest}", tier: free, scopes: [convert] }}
"""
SECRET, PUBLIC = b"the secret", b"the public file"
FILES = ["nginx", "caddy", "node", "starlette"]


class Chains:
    """`ports` are those of the gateways. Each is asked for each file server, except one that serves files itself."""

    def __init__(self, ports):
        self._ports = {(gateway, server): port for gateway, port in ports.items() for server in FILES}
        for server in FILES[1:]:
            del self._ports["caddy alone", server]

    def bodies(self, target, *lines):
        """The body that each chain answers with, by gateway and file server."""
        return {chain: body(port, target, f"X-Server: {chain[1]}", *lines) for chain, port in self._ports.items()}


def body(port, target, *lines):
    try:
        with Client(port) as client:
            return client.send(request(target, "Connection: close", *lines)).answer().body
    except (Truncated, ConnectionError):
        return b""


@pytest.fixture(scope="module")
def chains(server, tmp_path_factory):
    """The same file servers behind each gateway, which has a sidecar of its own."""
    work = tmp_path_factory.mktemp("chains")
    folder = work / "files"
    for name, content in (("convert/secret.txt", SECRET), ("public/größe 1.txt", PUBLIC), ("health", b"well"), ("x/y/z", b"z")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    def config(name, paths="strict", gateway="none"):
        return CONFIG.format(paths=paths, prefix=f"chains-{name}", digest=digest("the-key"), gateway=gateway)

    with ExitStack() as stack:
        dispatcher = stack.enter_context(dispatching())
        upstream = f"http://127.0.0.1:{dispatcher.port}"
        guards = fronts(
            server.url,
            nginx=(config("nginx", gateway="nginx"), None),
            caddy=(config("caddy", gateway="forwarded"), None),
            proxy=(config("proxy"), upstream),
            slashes=(config("slashes", "encoded-slashes"), upstream),
        )
        for_nginx, for_caddy, proxy, slashes = stack.enter_context(guards)
        of_nginx = file_servers.nginx(work / "of-nginx", folder, for_nginx, dispatcher.port)
        of_caddy = file_servers.caddy(work / "of-caddy", folder, for_caddy, dispatcher.port)
        servers = started_together(of_nginx, of_caddy, file_servers.node(folder), file_servers.starlette(folder))
        (nginx, nginx_files), (caddy, caddy_alone, caddy_files), node, starlette = stack.enter_context(servers)
        dispatcher.servers = dict(zip(FILES, (nginx_files, caddy_files, node, starlette), strict=True))
        gateways = {"nginx": nginx, "caddy": caddy, "caddy alone": caddy_alone, "proxy": proxy, "proxy with slashes": slashes}
        yield (chains := Chains(gateways))
        assert set(chains.bodies("/public/gr%C3%B6%C3%9Fe%201.txt").values()) == {PUBLIC}, "a server has ended"


def test_the_file_is_served_to_who_may_have_it(chains):
    assert set(chains.bodies("/convert/secret.txt", "X-API-Key: the-key").values()) == {SECRET}
    assert set(chains.bodies("/public/gr%C3%B6%C3%9Fe%201%2Etxt").values()) == {PUBLIC}


@pytest.mark.parametrize(
    "target",
    [
        "/convert/secret.txt",
        "/a%5Cb%2F..%2Fconvert/secret.txt",
        "//evil/convert/secret.txt",
        "/\\evil/convert/secret.txt",
        "/x%2Fy\\..\\convert/secret.txt",
        "/health#/../convert/secret.txt",
        "/health?#/../convert/secret.txt",
        "/%2563onvert/secret.txt",
    ],
)
def test_a_client_without_a_key_does_not_get_past_the_route(chains, target):
    assert_kept(chains, target)


DECOYS = ["", "/health", "/health#", "/health%23", "/health?", "/health;x", "/x", "/x/y", "/x/y/z", "//evil", "/\\evil", "/a%5Cb", "/x%2Fy"]
DECOYS += ["", "/;x", "/x\\y", "/%2F", "\\", "http://api.test", "http://api.test/health#"]
STEPS = ["", "/..", "/../..", "%2F..", "\\..", "%5C..", "/%2e%2e", "/.%2E", "/..;", "%2f%2e%2e", "/.", "/..%2f..", "%252F..", "/..%00"]
SLASHES = ["/", "/", "/", "//", "\\", "%2F", "%5C", "/./", "/%2e/", "/;/", "%252F", "/x/../", "%2F..%2F"]
FOLDERS = ["convert", "convert", "%63onvert", "%2563onvert", "convert;x", "convert%3Bx", "convert%00", "con\\vert", "%u0063onvert"]
NAMES = ["secret.txt", "secret%2Etxt", "secret.txt;x", "secret.txt%3Fx", "secret.txt#x", "secret.txt?x", "secret.txt/", "secret%252etxt"]
TARGETS = st.tuples(*map(st.sampled_from, (DECOYS, STEPS, SLASHES, FOLDERS, SLASHES, NAMES))).map("".join)


@given(TARGETS)
@examples(50)
def test_no_odd_path_gets_past_the_route(chains, target):
    assert_kept(chains, target)


def assert_kept(chains, target):
    assert [chain for chain, body in chains.bodies(target).items() if SECRET in body] == []
