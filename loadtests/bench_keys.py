"""A million keys in the registry: the memory of a key, and the time to issue, look up and list keys.

python loadtests/bench_keys.py [--keys 1000000] [--accounts 1000] [--short]

Uses a private redis-server on a socket. Keys are loaded in pipelines by the scripts of the registry.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import redis

from limiter import Policy
from limiter.api.identity import Directory, Identity, RegisteredKeys
from limiter.api.registry import Catalog, Registry, connected
from limiter.api.registry.changes import new_key
from limiter.api.registry.records import encode
from limiter.api.registry.store import ACCOUNT, script_source
from limiter.api.rules import Rules, Tier

BATCH = 500
POLICY = Policy("standard", ["1000/minute"])
RULES = Rules({POLICY.name: POLICY}, {"standard": Tier("standard", POLICY)})
CHANGE = {"name": "deploy", "scopes": ["asset:read", "asset:write"], "addresses": ["203.0.113.0/24"]}


@contextmanager
def private_redis() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "redis.sock"
        command = [shutil.which("redis-server") or "redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - a fixed command
            try:
                wait_for(path)
                yield f"unix://{path}"
            finally:
                process.terminate()


def wait_for(path: Path) -> None:
    with redis.Redis(unix_socket_path=str(path), retry=None) as client:
        for _ in range(500):
            try:
                client.ping()
            except redis.RedisError:
                time.sleep(0.02)
            else:
                return
    raise RuntimeError(f"redis-server at {path} did not answer within 10 s")


def generated(registry: Registry, account: str, number: int, now_us: int) -> list[tuple[str, object]]:
    key_format = registry.key_format
    raws = [key_format.generate() for _ in range(number)]
    blank = new_key(account, "live", CHANGE, Catalog(), now_us)
    ids = [new_key(account, "live", {}, Catalog(), now_us).id for _ in raws]
    digests, shown = map(key_format.digest, raws), map(key_format.shown, raws)
    issued = zip(raws, ids, digests, shown, strict=True)
    return [(raw, replace(blank, id=each, digest=digest, shown=start)) for raw, each, digest, start in issued]


async def load(registry: Registry, client: redis.asyncio.Redis, account: str, number: int) -> list[str]:
    """Creates keys and returns them raw."""
    reading = await registry.store.read(account)
    script = client.register_script(script_source("change"))
    raws, record = [], reading.records[ACCOUNT]
    for start in range(0, number, BATCH):
        pipe = client.pipeline(transaction=False)
        for raw, key in generated(registry, account, min(BATCH, number - start), reading.now_us + start):
            pipe.set(registry.names.pointer(key.digest), key.pointer, nx=True)
            entry = ["action", "keys.issue", "account", account, "key", key.id]
            written = [ACCOUNT, record, record, key.id, "", encode(key)]
            await script(keys=registry.store.keys_of(account), args=["", "", 100_000, 2, *written, *entry], client=pipe)
            raws.append(raw)
        await pipe.execute()
    return raws


async def timed(what: str, number: int, calls: Iterator[object]) -> None:
    started = time.perf_counter()
    for call in calls:
        await call
    spent = time.perf_counter() - started
    print(f"{what:<46} {number / spent:>10,.0f}/s {spent / number * 1e6:>10,.1f} us each")


async def bench(url: str, keys: int, accounts: int) -> None:
    async with connected(url, timeout=30) as client:
        registry = Registry(client)
        tenants = [f"tenant-{i:06}" for i in range(accounts)]
        for tenant in tenants:
            await registry.accounts.create(tenant, tier="standard")
        before = (await client.info("memory"))["used_memory"]
        started, raws = time.perf_counter(), []
        for tenant in tenants:
            raws += await load(registry, client, tenant, keys // accounts)
        spent = time.perf_counter() - started
        memory = (await client.info("memory"))["used_memory"] - before
        print(f"{len(raws):,} keys in {accounts:,} accounts")
        print(f"{'loaded in pipelines':<46} {len(raws) / spent:>10,.0f}/s {spent / len(raws) * 1e6:>10,.1f} us each")
        print(f"{'memory per key: record, order and pointer':<46} {memory / len(raws):>10,.0f} bytes")
        records = await client.memory_usage(registry.names.records(tenants[0]), samples=0)
        print(f"{'  of which its record':<46} {records / (keys // accounts):>10,.0f} bytes")
        await measure(registry, tenants, random.sample(raws, min(5000, len(raws))))


async def measure(registry: Registry, tenants: list[str], raws: list[str]) -> None:
    registered = RegisteredKeys(registry, deadline=30)
    directory = Directory(RULES, registered)
    number = len(raws) // 5
    await timed("issue, one at a time", number, (registry.keys.issue(random.choice(tenants), **CHANGE) for _ in range(number)))
    needs = "asset:read", "203.0.113.9"
    await timed("lookup, not cached", len(raws), (directory.look_up(raw, *needs) for raw in raws))
    await timed("lookup, cached", len(raws), (directory.look_up(raw, *needs) for raw in raws))
    started = time.perf_counter()
    assert all(isinstance(directory.recall(raw, *needs), Identity) for raw in raws)
    spent = (time.perf_counter() - started) / len(raws)
    print(f"{'recall, cached':<46} {1 / spent:>10,.0f}/s {spent * 1e6:>10,.1f} us each")
    mistyped = [f"{raw[:-1]}{'a' if raw[-1] != 'a' else 'b'}" for raw in raws]
    await timed("lookup, mistyped", len(raws), (directory.look_up(raw, *needs) for raw in mistyped))
    started = time.perf_counter()
    await registered.flush()
    print(f"{f'last uses of {len(raws):,} keys written':<46} {(time.perf_counter() - started) * 1e3:>10,.1f} ms")
    await registered.close()
    await timed("list a page of 100", 50, (registry.keys.list(random.choice(tenants), count=100) for _ in range(50)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--short", action="store_true", help="a quick check that the bench works")
    options = parser.parse_args()
    with private_redis() as url:
        asyncio.run(bench(url, 5000 if options.short else options.keys, 50 if options.short else options.accounts))


if __name__ == "__main__":
    main()
