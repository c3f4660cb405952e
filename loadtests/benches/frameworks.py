"""FastAPI with our middleware compared with FastAPI alone, slowapi and fastapi-limiter, in interleaved rounds."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from benches.front import COLUMNS, KEYS, LIMITS, Contestant, compete, requests, row
from benches.http_servers import Servers
from benches.private_redis import private_redis
from benches.rounds import Effort
from benches.tables import Report, Table, Target

NOTE = (
    "The same route, on one uvicorn worker each, limited by the Authorization header. `ratio`: of FastAPI alone. By the address of the "
    "client, the middleware asks no function."
)
ALONE, OURS, BY_ADDRESS, ROUTE = (
    "FastAPI alone",
    "FastAPI + **limiter**",
    "FastAPI + **limiter**, by address",
    "FastAPI + **limiter**, of the route",
)
SLOWAPI = "FastAPI + slowapi"


def bench(*, short: bool) -> Report:
    effort = Effort(0.4, 1) if short else Effort(1.0, 15)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = Servers(stack, folder, stack.enter_context(private_redis()))
        sent = requests("/items", KEYS)
        contestants = [
            Contestant(ALONE, servers.app("fastapi"), sent, floor=ALONE),
            Contestant(OURS, servers.app("fastapi-ours"), sent, LIMITS["ours"], floor=ALONE),
            Contestant(BY_ADDRESS, servers.app("fastapi-ours-by-address"), sent, LIMITS["ours"], floor=ALONE),
            Contestant(ROUTE, servers.app("fastapi-ours-route"), requests("/limited", KEYS), LIMITS["ours"], floor=ALONE),
            Contestant(SLOWAPI, servers.app("slowapi"), sent, LIMITS["peers"], floor=ALONE),
            Contestant("FastAPI + fastapi-limiter", servers.app("fastapi-limiter"), sent, f"{LIMITS['peers']}; no headers", floor=ALONE),
        ]
        compete(contestants, effort)
    by_name = {each.name: each for each in contestants}
    alone = by_name[ALONE]
    targets = [
        Target("FastAPI with the middleware, of FastAPI alone", by_name[OURS].ratio(alone), 0.9),
        Target("FastAPI with the middleware by address, of FastAPI alone", by_name[BY_ADDRESS].ratio(alone), 0.9),
        Target("FastAPI with the middleware, of slowapi", by_name[OURS].ratio(by_name[SLOWAPI]), 5),
    ]
    return Report("Web frameworks", [Table("FastAPI", COLUMNS, [row(each, alone) for each in contestants])], targets, NOTE, [])
