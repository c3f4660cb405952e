"""More requests at once than the sidecar can answer within its deadline do not get past a limit."""

import asyncio
import json
from collections import Counter
from urllib.parse import urlsplit

import pytest

from support.servers.sidecar import digest, sidecar

CONNECTIONS, EACH = 400, 12
CONFIG = f"""
policies: {{ five: {{ limits: [5/minute], failure: %s }} }}
tiers: {{ free: {{ key: five }} }}
keys: [{{ name: k, digest: "sha256:{digest("the-key")}", tier: free }}]
"""
REQUEST = b"GET /authorize HTTP/1.1\r\nHost: x\r\nx-api-key: the-key\r\n\r\n"


# 1.5 KB each. Every one of the first is refused, and the others have several readings.
ODD_PATHS = ["/a%5Cb%2F..;x/.%2e" * 80, "/b;c%41%3F" * 150, "/%2541;" * 70]


async def flood(url: str, connections: int = CONNECTIONS, requests: bytes = REQUEST * EACH) -> Counter:
    port, seen = urlsplit(url).port, Counter()

    async def client():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(requests)
        for _ in range(requests.count(b"GET ")):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(length)
            seen[json.loads(body)["status"] if body else int(head.split()[1])] += 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(connections)))
    return seen


@pytest.mark.parametrize("failure", ["open", "closed"])
def test_a_limit_of_five_holds_for_hundreds_of_busy_connections(tmp_path, server, prefix, failure):
    with sidecar(tmp_path, CONFIG % failure + f"redis: {{ prefix: {prefix} }}\n", redis=server.url) as running:
        assert asyncio.run(flood(running.front)) == {200: 5, 429: CONNECTIONS * EACH - 5}


@pytest.mark.parametrize("failure", ["open", "closed"])
def test_a_limit_of_five_holds_for_a_client_with_megabytes_of_odd_paths(tmp_path, server, prefix, failure):
    requests = b"".join(REQUEST.replace(b"/authorize", f"/authorize{ODD_PATHS[n % 3]}/{n}".encode()) for n in range(20))
    with sidecar(tmp_path, CONFIG % failure + f"redis: {{ prefix: {prefix} }}\n", redis=server.url) as running:
        seen = asyncio.run(flood(running.front, 50, requests))
    assert (seen[200], seen[400], seen.total()) == (5, 350, 1000)
    assert set(seen) == {200, 400, 429}
