"""A client that sends megabytes of odd paths does not get past its limit."""

import asyncio
from collections import Counter

import pytest

from support.proxy.raw_upstream import answering
from support.servers.sidecar import digest, sidecar

CONNECTIONS, EACH = 50, 20
CONFIG = f"""
policies:
  open: {{ limits: [5/minute], failure: open }}
  closed: {{ limits: [5/minute], failure: closed }}
tiers: {{ open: {{ key: open }}, closed: {{ key: closed }} }}
keys:
  - {{ name: open, digest: "sha256:{digest("open-key")}", tier: open }}
  - {{ name: closed, digest: "sha256:{digest("closed-key")}", tier: closed }}
"""
# About 1.5 KB each. The first is refused. The others have several readings.
PATHS = ["/a%5Cb%2F..;x/.%2e" * 80, "/b;c%41%3F" * 150, "/%2541;" * 70]
REFUSED = CONNECTIONS * len(range(0, EACH, len(PATHS)))


async def flood(port: int, base: str, key: str) -> Counter:
    requests = "".join(f"GET {base}{PATHS[n % 3]}/{n} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n" for n in range(EACH)).encode()
    seen = Counter()

    async def client():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(requests)
        for _ in range(EACH):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
            seen[int(head.split()[1])] += 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return seen


@pytest.mark.parametrize("entrance", ["/authorize", "proxy"])
def test_a_limit_of_five_holds_for_a_client_with_megabytes_of_odd_paths(tmp_path, server, prefix, entrance):
    with answering() as upstream:
        options, base = (["--upstream", upstream.url], "") if entrance == "proxy" else ([], "/authorize")
        with sidecar(tmp_path, CONFIG + f"redis: {{ prefix: {prefix} }}\n", *options, redis=server.url) as running:
            for key in ("open-key", "closed-key"):
                seen = asyncio.run(flood(running.port, base, key))
                assert seen == {200: 5, 400: REFUSED, 429: CONNECTIONS * EACH - REFUSED - 5}, key
        assert upstream.received.count(b" HTTP/1.1\r\n") == (10 if entrance == "proxy" else 0)
