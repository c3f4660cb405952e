"""The scripts that write to the registry, `../lua/registry_*.lua`, and what goes wrong on the way to Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import redis

from limiter.errors import BackendError, BackendTimeout


@dataclass(frozen=True, slots=True)
class Scripts:
    """Each is called with `keys=` and `args=`."""

    change: Any
    delete: Any
    claim: Any
    used: Any

    @classmethod
    def of(cls, client: Any) -> Scripts:
        return cls(*(client.register_script(source(name)) for name in ("change", "delete", "claim", "used")))


def source(name: str) -> str:
    return files("limiter.lua").joinpath(f"registry_{name}.lua").read_text("utf-8")


@contextmanager
def backend() -> Iterator[None]:
    """Redis's failures as ours."""
    try:
        yield
    except (redis.TimeoutError, TimeoutError):
        raise BackendTimeout("Redis did not answer within the deadline: whether a change was made, a look will tell") from None
    except (redis.RedisError, OSError) as error:
        raise BackendError(f"Redis failed: {error}") from None


def text(value: bytes | str | None) -> str:
    """A reply, from a client that decodes or from one that does not."""
    return value.decode() if isinstance(value, bytes) else value or ""
