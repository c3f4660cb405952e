"""Every response of the sidecar has one Date."""

import pytest

from support.proxy.raw_client import Client, get
from support.proxy.raw_upstream import answering
from support.servers.sidecar import digest, sidecar

CONFIG = f"""
policies: {{ one: {{ limits: [1/hour], failure: closed }} }}
tiers: {{ free: {{ key: one }} }}
routes: [{{ path: /exempt, exempt: true }}]
keys: [{{ name: k, digest: "sha256:{digest("the-key")}", tier: free }}]
"""
THEIRS = b"Sun, 06 Nov 1994 08:49:37 GMT"
DATED = b"HTTP/1.1 200 OK\r\nDate: " + THEIRS + b"\r\nContent-Length: 0\r\n\r\n"
UNDATED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
MALFORMED = b"HTTP/1.1 999 Odd\r\n\r\n"


@pytest.fixture(params=[[], ["--access-log"]], ids=["plain", "access log"])
def port(request, tmp_path, server, prefix):
    """A proxy whose upstream sends a response with a date, one without, and one that is refused."""
    with answering(DATED, UNDATED, MALFORMED) as upstream:
        arguments = ["--upstream", upstream.url, *request.param]
        with sidecar(tmp_path, CONFIG + f"redis: {{ prefix: {prefix}, deadline: 5s }}\n", *arguments, redis=server.url) as running:
            yield running.port


def test_a_response_has_one_date(port):
    proxied = [get(port, "/exempt") for _ in range(3)]
    own = get(port, "/", "Authorization: Bearer unknown")
    with Client(port) as client:
        invalid = client.send(b"GET / HTTP/2.0\r\n\r\n").answer()
    answers = [*proxied, own, invalid]
    assert [answer.status for answer in answers] == [200, 200, 502, 401, 505]
    assert proxied[0].values(b"date") == [THEIRS]
    assert [len(answer.values(b"date")) for answer in answers] == [1] * 5
