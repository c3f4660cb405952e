"""A real nginx, and the requests that Traefik, Caddy and Envoy send."""

import pytest

from support.servers.nginx import nginx
from support.servers.sidecar import ask, digest, sidecar

CONFIG = """
policies:
  standard: {{ limits: [3/minute], failure: open }}
  costly: {{ limits: [100/hour], failure: open }}
tiers:
  free: {{ key: standard }}
identify:
  trusted_proxies: [127.0.0.1]
deny_status: 403
redis: {{ prefix: {prefix} }}
routes:
  - {{ path: /convert/*, method: POST, policy: costly, cost: 40, scope: "convert:write" }}
  - {{ path: /health, exempt: true }}
keys:
  - {{ name: free, digest: "sha256:{free}", tier: free }}
  - {{ name: writer, digest: "sha256:{writer}", tier: free, scopes: ["convert:write"] }}
  - {{ name: inside, digest: "sha256:{inside}", tier: free, addresses: [203.0.113.0/24] }}
"""


@pytest.fixture
def gatekeeper(tmp_path, server, prefix):
    text = CONFIG.format(prefix=prefix, **{name: digest(f"{name}-key") for name in ("free", "writer", "inside")})
    with sidecar(tmp_path, text, redis=server.url) as running:
        yield running


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_nginx_passes_the_status_and_the_headers_on(gatekeeper, tmp_path_factory):
    with nginx(tmp_path_factory.mktemp("nginx"), gatekeeper.front) as url:
        replies = [ask(url, "/files", headers=bearer("free-key")) for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 200, 429]
        assert replies[0].body == b"the api"
        assert [reply.headers["X-RateLimit-Remaining"] for reply in replies] == ["2", "1", "0", "0"]
        assert all(reply.headers["RateLimit-Policy"] == '"minute";q=3;w=60' for reply in replies)
        assert int(replies[3].headers["Retry-After"]) >= 1
        assert replies[3].headers["Cache-Control"] == "no-store"
        assert replies[3].json()["status"] == 429

        assert ask(url, "/files").status == 401
        assert ask(url, "/files").headers["WWW-Authenticate"].startswith("Bearer")
        assert ask(url, "/health").status == 200

        # The client cannot override its method and path with headers.
        converted = ask(
            url, "/convert/a?x=1", "POST", {**bearer("writer-key"), "X-Original-URI": "/health", "X-Forwarded-Uri": "/health"}, b"body"
        )
        assert converted.headers["RateLimit"].startswith('"hour";r=60;')
        assert ask(url, "/convert/a", "POST", bearer("free-key")).status == 403


def test_deny_status_403_keeps_the_original_status_in_a_header(gatekeeper):
    for _ in range(3):
        gatekeeper.ask(key="free-key")
    reply = gatekeeper.ask(key="free-key")
    assert (reply.status, reply.headers["X-RateLimit-Status"]) == (403, "429")
    assert reply.json()["status"] == 429
    assert gatekeeper.ask(key="nonsense").status == 401

    # Traefik's ForwardAuth and Caddy's forward_auth: GET, with the original request in headers.
    forwarded = {
        "X-Forwarded-Method": "POST",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "api.example",
        "X-Forwarded-Uri": "/convert/a?x=1",
    }
    reply = gatekeeper.ask(key="writer-key", headers={**forwarded, "X-Forwarded-For": "203.0.113.7"})
    assert reply.headers["RateLimit"].startswith('"hour";r=60;')
    assert gatekeeper.ask(key="inside-key", headers={**forwarded, "X-Forwarded-Uri": "/x", "X-Forwarded-For": "203.0.113.7"}).status == 200
    assert gatekeeper.ask(key="inside-key", headers={**forwarded, "X-Forwarded-Uri": "/x", "X-Forwarded-For": "198.51.100.7"}).status == 403

    # Envoy's ext_authz: the client's own method and path, under a prefix.
    reply = gatekeeper.ask("/authorize/convert/a?x=1", method="POST", key="writer-key", headers={"Content-Length": "0"})
    assert reply.headers["RateLimit"].startswith('"hour";r=20;')
    assert gatekeeper.ask("/authorize/health").status == 200
