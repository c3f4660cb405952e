"""A process without file descriptors keeps its limits: a policy that fails open admits nobody for want of a descriptor."""

import asyncio
import os
import resource
from contextlib import contextmanager, suppress

import pytest

from limiter import AsyncLimiter, Policy
from limiter.errors import OutOfDescriptors
from support.drivers import CLIENTS, limiter_of

LIMITS = ["5/minute"]
OPEN, PLAIN = Policy("open", LIMITS, failure="open"), Policy("plain", LIMITS)
MOST = 256


@contextmanager
def no_descriptors():
    limits, taken = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST, limits[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for each in taken:
            os.close(each)


def test_lost_connections_are_replaced_by_a_process_that_has_run_out_of_descriptors(own_server, prefix):
    async def takes(admin):
        async with AsyncLimiter(own_server.url, prefix=prefix, deadline=10) as limiter:
            await limiter.connect()
            with no_descriptors():
                decisions = []
                for _ in range(4):
                    admin.client_kill_filter(_type="normal", skipme=True)
                    decisions += await asyncio.gather(*(limiter.take(OPEN, "key") for _ in range(50)))
                return decisions

    with own_server.client() as admin:
        admin.ping()
        decisions = asyncio.run(takes(admin))
    assert [decision.degraded for decision in decisions if decision.degraded] == []
    assert sum(decision.allowed for decision in decisions) == 5


def test_connect_opens_the_connections_of_both_lanes(own_server, prefix):
    async def connections(admin):
        async with AsyncLimiter(own_server.url, prefix=prefix, deadline=10) as limiter:
            before = admin.info("clients")["connected_clients"]
            await limiter.connect()
            await limiter.connect()
            await asyncio.gather(*(limiter.take(PLAIN, "key") for _ in range(100)))
            return admin.info("clients")["connected_clients"] - before

    with own_server.client() as admin:
        assert asyncio.run(connections(admin)) == 2


@pytest.mark.parametrize("client", CLIENTS)
def test_a_connection_that_cannot_be_opened_for_want_of_a_descriptor_admits_nobody(server, prefix, client):
    with limiter_of(client, server.url, prefix=prefix) as limiter:
        limiter.peek(PLAIN, "the-loop-has-descriptors-of-its-own")
        limiter.close() if client == "sync" else limiter._runner.run(limiter._limiter.close())  # noqa: SLF001
        with no_descriptors():
            with pytest.raises(OutOfDescriptors, match="no file descriptor left: raise its limit"):
                limiter.take(PLAIN, "key")
            decision = limiter.take(OPEN, "key")
    assert not decision.allowed
    assert "no file descriptor left" in decision.degraded
