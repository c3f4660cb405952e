"""What refused requests cost the sidecar, beside allowed ones: keys of the registry, interleaved."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benches.front import COLUMNS, LIMITS, POLICIES, Contestant, compete, requests, row
from benches.http_servers import Servers
from benches.private_redis import private_redis
from benches.rounds import Effort
from benches.tables import Report, Table, Target
from limiter.api.registry import KeyFormat, Registry, connected

ALLOWED, INVENTED = "allowed", "invented keys"
REVOKED, NO_SCOPE, LIMITED = "refused: revoked", "refused: out of scope", "refused: over the guard"
SIDECAR = {
    # A busy machine must not count as an outage.
    "redis": {"deadline": "10s"},
    "routes": [{"path": "/write", "scope": "files:write"}],
}
NOTE = (
    "Keys of the registry. The guard has room for all of the refused requests, so each is charged to its key and its address, except in "
    "the row `over the guard`, which is a loop with revoked keys that gets 429. Nothing remembers an invented key."
)


def bench(*, short: bool) -> Report:
    effort = Effort(0.4, 1) if short else Effort(1.0, 9)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis_url = stack.enter_context(private_redis())
        good, revoked = asyncio.run(_issued(redis_url, 100 if short else 1000))
        contestants = _contestants(Servers(stack, folder, redis_url), good, revoked)
        compete(contestants, effort)
    by_name = {each.name: each for each in contestants}
    allowed = by_name[ALLOWED]
    targets = [Target(f"{name}, of allowed", by_name[name].ratio(allowed), 1.0) for name in (REVOKED, NO_SCOPE, LIMITED, INVENTED)]
    return Report("Refused requests", [Table("HTTP", COLUMNS, [row(each, allowed) for each in contestants])], targets, NOTE)


async def _issued(url: str, number: int) -> tuple[list[str], list[str]]:
    """Good keys and revoked keys, of accounts of their own."""
    async with connected(url) as client:
        registry = Registry(client)
        raws: list[str] = []
        for index in range(2 * number):
            await registry.accounts.create(f"account-{index}", tier="standard")
            new = await registry.keys.issue(f"account-{index}")
            raws.append(new.raw)
            if index >= number:
                await registry.keys.revoke(new.key.account, new.key.id)
    return raws[:number], raws[number:]


def _contestants(servers: Servers, good: Sequence[str], revoked: Sequence[str]) -> list[Contestant]:
    generous, strict = servers.sidecar(_config("generous", "1000000/minute")), servers.sidecar(_config("strict", "1/hour"))
    invented = [KeyFormat().generate() for _ in range(5000)]
    own, guard = LIMITS["ours"], "guard"
    return [
        Contestant(ALLOWED, generous, requests("/authorize/read", good), own, floor=ALLOWED),
        Contestant(REVOKED, generous, requests("/authorize/read", revoked), guard, "401", ALLOWED),
        Contestant(NO_SCOPE, generous, requests("/authorize/write", good), guard, "403", ALLOWED),
        Contestant(LIMITED, strict, requests("/authorize/read", revoked), guard, "429", ALLOWED),
        Contestant(INVENTED, generous, requests("/authorize/read", invented), guard, "401", ALLOWED),
    ]


def _config(guard: str, limit: str) -> str:
    """Guards of different names, because both sidecars count in the same Redis."""
    policies = {"standard": {"limits": POLICIES["standard"]}, guard: {"limits": [limit]}}
    identify = {"order": ["bearer"], "guard": guard}
    return json.dumps({"policies": policies, "tiers": {"standard": {"key": "standard"}}, "identify": identify, **SIDECAR})
