"""Each gateway of examples/gateways, between its clients and an API. One sidecar serves all gateways that describe requests alike."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from support.proxy.raw_client import Client, request
from support.servers.gateway_api import Api
from support.servers.gateways import MAIN, PAGE, SECRET, fail_open, gateway, with_callers
from support.servers.relay import Relay, relay_to
from support.servers.sidecar import Sidecar, digest, sidecar

KEYS = 300
# The address of the clients. Unlike the gateways at 127.0.0.1, it is not trusted.
CLIENT = "127.0.0.2"
FAMILIES = {"nginx": "nginx", "caddy": "forwarded", "haproxy": "forwarded", "apache": "forwarded", "envoy": "envoy", "traefik": "forwarded"}
# Those that take only 401 and 403 for a refusal.
TAKES_403 = {"nginx", "envoy"}

# An Envoy that passes more headers on than it should.
LOOSENED = {"envoy": lambda text: text.replace("{ exact: x-api-key }", "{ prefix: x- }")}

CONFIG = """
policies:
  three: {{ limits: [3/minute], failure: open }}
  ten: {{ limits: [10/minute], failure: open }}
  login: {{ limits: [2/minute], failure: open }}
  counted: {{ limits: [100/minute], failure: closed }}
tiers:
  small: {{ key: three }}
  large: {{ key: ten }}
identify:
  gateway: {family}
  trusted_proxies: [127.0.0.1]
deny_status: {deny_status}
cors: {{ origins: ["{page}"], credentials: true }}
caller_headers: {{ include: [account, key, tier], sign: true }}
redis: {{ prefix: {prefix}, deadline: 5s }}
routes:
  - {{ path: /health, exempt: true }}
  - {{ path: /status, method: GET, exempt: true }}
  - {{ path: /login, method: POST, policy: login }}
  - {{ path: /counted, policy: counted }}
  - {{ path: /convert/*, scope: "convert:write" }}
keys:
  - {{ name: inside, digest: "sha256:{inside}", tier: small, addresses: [203.0.113.0/24] }}
{keys}
"""


@dataclass(frozen=True)
class Guarded:
    """A gateway that lets no request pass while the sidecar does not answer. It asks through the relay."""

    program: str
    port: int
    relay: Relay
    redis: Relay
    sidecar: Sidecar
    api: Api

    def ask(self, target, *lines, method="GET", key=None, body=b"", port=None):
        with self.client(port) as client:
            return client.send(self.request(target, *lines, method=method, key=key, body=body)).answer(method)

    def client(self, port=None) -> Client:
        return Client(port or self.port, CLIENT)

    @staticmethod
    def request(target, *lines, method="GET", key=None, body=b"") -> bytes:
        credential = [f"Authorization: Bearer {key}"] if key else []
        return request(target, *lines, *credential, method=method, body=body)

    def remaining(self, key) -> int:
        """What is left after one more request."""
        return int(self.ask("/files", key=key).values(b"x-ratelimit-remaining")[0])


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


@pytest.fixture(scope="session")
def redis_relay(server) -> Iterator[Relay]:
    with relay_to(server.port) as relay:
        yield relay


@pytest.fixture(scope="session")
def sidecars(redis_relay, tmp_path_factory) -> Iterator[Callable[[str], Sidecar]]:
    """Started when a gateway needs it."""
    with contextlib.ExitStack() as stack:
        running = {}

        def of(program):
            like = (FAMILIES[program], program in TAKES_403)
            if like not in running:
                running[like] = stack.enter_context(started(tmp_path_factory.mktemp("sidecar"), program, redis_relay.url))
            return running[like]

        yield of


def started(folder, program, redis):
    return sidecar(folder, config(program), redis=redis, env={"LIMITER_CALLER_SECRET": SECRET})


def config(program):
    family = FAMILIES[program]
    keys = "\n".join(
        f'  - {{ name: {family}-{tier}-{n}, digest: "sha256:{digest(f"{family}-{tier}-{n}")}", tier: {tier} }}'
        for tier in ("small", "large")
        for n in range(KEYS)
    )
    status = 403 if program in TAKES_403 else 429
    return CONFIG.format(family=family, deny_status=status, page=PAGE, prefix=f"gateways-{family}", inside=digest("inside-key"), keys=keys)


@pytest.fixture(scope="session", params=MAIN)
def guarded(request, sidecars, api, redis_relay) -> Iterator[Guarded]:
    program = request.param
    running = sidecars(program)
    edited = with_callers(program) if program not in LOOSENED else LOOSENED[program]
    with relay_to(running.port) as relay, gateway(program, relay.port, api.port, edited) as port:
        yield Guarded(program, port, relay, redis_relay, running, api)


@pytest.fixture(scope="session")
def opened(guarded) -> Iterator[int]:
    """The port of the same gateway with its switch turned: it lets requests pass while the sidecar does not answer."""
    program = guarded.program
    with gateway(program, guarded.relay.port, guarded.api.port, lambda text: fail_open(program)(with_callers(program)(text))) as port:
        yield port


_unused = itertools.count()


@pytest.fixture
def key(guarded) -> str:
    """A key with 3 requests a minute that no other test uses."""
    return f"{FAMILIES[guarded.program]}-small-{next(_unused)}"


@pytest.fixture
def large_key(guarded) -> str:
    """A key with 10 requests a minute that no other test uses."""
    return f"{FAMILIES[guarded.program]}-large-{next(_unused)}"


@pytest.fixture(autouse=True)
def _column(request) -> None:
    """`make bench` makes the table in docs/gateways.md from it."""
    if mark := request.node.get_closest_marker("works"):
        request.node.user_properties.append(("works", mark.args[0]))
