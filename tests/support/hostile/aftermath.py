"""What an attack may leave behind: nothing in memory, descriptors or the log, and bounded keys in Redis."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import redis

from support.hostile.heads import WELL_FORMED
from support.hostile.scene import POLICIES, SECRET
from support.servers.sidecar import TOKEN, Sidecar

_MB = 1024 * 1024
_STATE = re.compile(rb"[^:]+:\{[^}]+\}:.+:(?:%b)" % b"|".join(map(str.encode, POLICIES)), re.DOTALL).fullmatch
_SECRETS = [SECRET.encode(), TOKEN.encode(), *map(str.encode, WELL_FORMED)]


@dataclass(frozen=True)
class Footprint:
    """Of the process of a sidecar: its memory in MB, and its open descriptors."""

    memory: float
    descriptors: int

    @classmethod
    def of(cls, sidecar: Sidecar) -> "Footprint":
        process = psutil.Process(sidecar.process.pid)
        return cls(process.memory_info().rss / _MB, process.num_fds())


def mistakes_in_log(sidecar: Sidecar, most_lines: int) -> Iterator[str]:
    text = sidecar.raw_log
    if (lines := text.count(b"\n")) > most_lines:
        yield f"{lines} lines in the log"
    for wrong in (b"Traceback", b'"level": "error"', b'"exception"'):
        if (at := text.find(wrong)) >= 0:
            yield f"{wrong.decode()} in the log: ...{text[max(0, at - 300) : at + 3000].decode()}"
    yield from (f"the log contains the secret {secret.decode()}" for secret in _SECRETS if secret in text)


def mistakes_in_redis(client: redis.Redis, most_keys: int) -> Iterator[str]:
    """The server must not compress dumps: `--rdbcompression no`."""
    names: list[bytes] = list(client.scan_iter(count=5000))
    if len(names) > most_keys:
        yield f"{len(names)} keys in Redis"
    for start in range(0, len(names), 1000):
        some = names[start : start + 1000]
        pipe = client.pipeline(transaction=False)
        for name in some:
            pipe.dump(name).pttl(name)
        found = pipe.execute()
        for name, dump, ttl in zip(some, found[::2], found[1::2], strict=True):
            if any(secret in name or secret in (dump or b"") for secret in _SECRETS):
                yield f"a secret in Redis at {name!r}"
            if _STATE(name) and ttl == -1:
                yield f"{name!r} does not expire"
