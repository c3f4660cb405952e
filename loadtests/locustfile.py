"""Locust users of a running sidecar, each with its own key, and a check at the end that the limits were held.

A justified 429 counts as a success, under a separate name; any other 429 is a failure. Started by `make load`.
"""

from __future__ import annotations

import time
from itertools import count

from gevent.pool import Pool
from held import Ledger
from locust import FastHttpUser, between, constant_pacing, events, task
from locust.env import Environment
from scenario import Scenario

from limiter import parse_limit

SCENARIO = Scenario.read()
LIMITS = [parse_limit(limit) for limit in SCENARIO.limits]
HELD_TO = [parse_limit(limit) for limit in SCENARIO.held_to]
LEDGERS: list[Ledger] = []

_numbers = count()


class Caller(FastHttpUser):
    """Sends requests with its own key and records them."""

    abstract = True
    path = "/items"
    what = ""
    # The number of connections, which limits the requests in flight.
    concurrency = 30
    network_timeout = 10.0

    def on_start(self) -> None:
        self.headers = {"Authorization": f"Bearer {SCENARIO.keys[next(_numbers)]}"}
        self.ledger = Ledger(LIMITS)
        LEDGERS.append(self.ledger)

    def ask(self) -> None:
        request = self.ledger.add(time.perf_counter())
        with self.client.get(self.path, headers=self.headers, name=self.what, catch_response=True) as response:
            request.received, request.status = time.perf_counter(), response.status_code
            if request.status == 429 and self.ledger.justifies(request):
                response.request_meta["name"] = f"{self.what}: over a limit"
                response.success()
            elif request.status != 200:
                response.failure(f"status {request.status}{' below every limit' if request.status == 429 else ''}")


class Steady(Caller):
    """Stays within every limit and is never denied."""

    abstract = True
    wait_time = constant_pacing(0.5)

    @task
    def one(self) -> None:
        self.ask()


class Burst(Caller):
    """Repeatedly sends far more at once than the burst allows."""

    abstract = True
    wait_time = between(1, 3)

    @task
    def many(self) -> None:
        pool = Pool(self.concurrency)
        for _ in range(60):
            pool.spawn(self.ask)
        pool.join()


class SteadyAuthorize(Steady):
    host, path, what = SCENARIO.authorize_url, "/authorize/items", "/authorize, steady"


class BurstAuthorize(Burst):
    host, path, what = SCENARIO.authorize_url, "/authorize/items", "/authorize, bursts"


class SteadyProxy(Steady):
    host, what = SCENARIO.proxy_url, "proxy, steady"


class BurstProxy(Burst):
    host, what = SCENARIO.proxy_url, "proxy, bursts"


@events.quitting.add_listener
def judge(environment: Environment, **_: object) -> None:
    """Sets the exit code: 0 only if limits were reached and none was exceeded."""
    requests = [request for ledger in LEDGERS for request in ledger.requests]
    admitted, denied = (sum(request.status == status for request in requests) for status in (200, 429))
    breaches = [breach for ledger in LEDGERS for breach in ledger.breaches(HELD_TO)]
    failures = environment.stats.total.num_failures
    print(f"\n{admitted:,} requests of {len(LEDGERS)} keys were admitted, {denied:,} denied; {failures:,} failed.")
    for breach in breaches[:10]:
        print(f"Limit exceeded: {breach}.")
    if not admitted or not denied:
        print("Inconclusive: nothing was denied, or nothing admitted. Use more users or more time.")
    held = bool(admitted and denied and not breaches)
    print("The limits were held." if held else "The limits were NOT shown to be held.")
    environment.process_exit_code = 0 if held and not failures else 1
