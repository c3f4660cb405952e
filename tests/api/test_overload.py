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


async def flood(url: str) -> Counter:
    port, seen = urlsplit(url).port, Counter()

    async def client():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST * EACH)
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
def test_a_limit_of_five_holds_for_hundreds_of_busy_connections(tmp_path, server, prefix, failure):
    with sidecar(tmp_path, CONFIG % failure + f"redis: {{ prefix: {prefix} }}\n", redis=server.url) as running:
        assert asyncio.run(flood(running.front)) == {200: 5, 429: CONNECTIONS * EACH - 5}
