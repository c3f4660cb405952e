"""A sidecar that tests share if they do not change its configuration or its Redis. Each test has its own key, so its own counts."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from support.clock import Clock
from support.pages import ROOT, blocks
from support.registry import World, world_of
from support.servers.redis_server import RedisServer
from support.servers.sidecar import Sidecar, digest, sidecar

KEYS = 400

CONFIG = """
policies:
  standard: {{ limits: [5/minute, 1000/hour], failure: open }}
  bulk: {{ limits: ["burst 1000, 1000/second"], failure: closed }}
  account: {{ limits: [1000000/minute], failure: open }}
  by-address: {{ limits: [3/minute], failure: open }}
  guessing: {{ limits: [4/minute], failure: open }}
tiers:
  free: {{ key: standard }}
  pro: {{ key: bulk, account: account }}
identify:
  guard: guessing
  gateway: none
  trusted_proxies: [127.0.0.1]
routes:
  - {{ path: /health, exempt: true }}
  - {{ path: /convert, method: POST, cost: 3, scope: "convert:write" }}
  - {{ path: /public, policy: by-address }}
  - {{ path: /huge, cost: 2000 }}
  - {{ path: /status, cost: 0 }}
# Longer than a busy machine suspends a process: no test of this sidecar is about failures of Redis.
redis: {{ deadline: 5s }}
accounts:
  gone: {{ tier: free, state: suspended }}
keys:
  - {{ name: writer, digest: "sha256:{writer}", account: acme, tier: pro, scopes: ["convert:write"] }}
  - {{ name: inside, digest: "sha256:{inside}", tier: free, addresses: [203.0.113.0/24, "2001:db8::/32"] }}
  - {{ name: old, digest: "sha256:{old}", tier: free, expires: 2020-01-01T00:00:00Z }}
  - {{ name: revoked, digest: "sha256:{revoked}", tier: free, state: revoked }}
  - {{ name: of-gone, digest: "sha256:{gone}", account: gone }}
{fresh}
"""


def config_text() -> str:
    fresh = "\n".join(f'  - {{ name: fresh-{n}, digest: "sha256:{digest(f"fresh-{n}-secret")}", tier: free }}' for n in range(KEYS))
    return CONFIG.format(fresh=fresh, **{name: digest(f"{name}-secret") for name in ("writer", "inside", "old", "revoked", "gone")})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(server: RedisServer, prefix: str, clock: Clock) -> Iterator[World]:
    """A registry with the account acme."""
    with world_of(server, prefix, clock=clock) as world:
        world(world.accounts.create("acme", tier="standard"))
        yield world


@pytest.fixture(scope="session")
def shared(server: RedisServer, tmp_path_factory) -> Iterator[Sidecar]:
    with sidecar(tmp_path_factory.mktemp("shared"), config_text(), redis=server.url) as running:
        yield running


_unused = itertools.count()


@pytest.fixture
def key() -> str:
    """A raw key that no other test uses. The key `fresh-7-secret` has the name `fresh-7`."""
    return f"fresh-{next(_unused)}-secret"


@pytest.fixture
def elsewhere() -> Callable[[], dict[str, str]]:
    """Headers of a gateway whose client has an address that no other test uses."""
    return lambda: {"X-Forwarded-For": f"198.51.{next(_unused) // 250}.{next(_unused) % 250 + 1}"}


@pytest.fixture(scope="session")
def comes_from_limiter() -> Callable[..., bool]:
    """The example of the documentation of `caller_headers`."""
    names: dict = {}
    (code,) = blocks((ROOT / "docs/configuration.md").read_text(), "python")
    exec(compile(code, "configuration.md", "exec"), names)  # noqa: S102 - running the example is the test
    return names["comes_from_limiter"]
