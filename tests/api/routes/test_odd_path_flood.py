"""A client that sends megabytes of odd paths does not get past its limit."""

import asyncio
import json
from collections import Counter
from urllib.parse import urlsplit

import pytest

from support.servers.sidecar import digest, sidecar

CONNECTIONS, EACH = 50, 20
CONFIG = f"""
policies: {{ five: {{ limits: [5/minute], failure: %s }} }}
tiers: {{ free: {{ key: five }} }}
keys: [{{ name: k, digest: "sha256:{digest("the-key")}", tier: free }}]
"""
# About 1.5 KB each. The first is refused. The others have several readings.
PATHS = ["/a%5Cb%2F..;x/.%2e" * 80, "/b;c%41%3F" * 150, "/%2541;" * 70]
REQUESTS = "".join(f"GET /authorize{PATHS[n % 3]}/{n} HTTP/1.1\r\nHost: x\r\nX-API-Key: the-key\r\n\r\n" for n in range(EACH)).encode()


async def flood(url: str) -> Counter:
    port, seen = urlsplit(url).port, Counter()

    async def client():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUESTS)
        for _ in range(EACH):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(length)
            seen[json.loads(body)["status"] if body else int(head.split()[1])] += 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return seen


@pytest.mark.parametrize("failure", ["open", "closed"])
def test_a_limit_of_five_holds_for_a_client_with_megabytes_of_odd_paths(tmp_path, server, prefix, failure):
    with sidecar(tmp_path, CONFIG % failure + f"redis: {{ prefix: {prefix} }}\n", redis=server.url) as running:
        seen = asyncio.run(flood(running.front))
    refused = CONNECTIONS * len(range(0, EACH, len(PATHS)))
    assert seen == {200: 5, 400: refused, 429: CONNECTIONS * EACH - refused - 5}
