"""A limiter of either client, by a clock that a test moves, for as long as a module of tests lasts."""

import uuid

import pytest

from support.clock import Clock
from support.drivers import CLIENTS, limiter_of
from support.redis_server import redis_server
from support.relay import relay_to


@pytest.fixture(scope="session")
def clock():
    return Clock()


@pytest.fixture(scope="module", params=CLIENTS)
def limiter(request, server, clock):
    with limiter_of(request.param, server.url, clock=clock, prefix=f"t{uuid.uuid4().hex[:8]}") as connected:
        yield connected


@pytest.fixture(scope="module")
def own_server():
    """One that a test may stop, kill or hold up; it is running again for the next."""
    with redis_server() as running:
        yield running


@pytest.fixture
def relay(server):
    """A way to the server of the run that can fail."""
    with relay_to(server.port) as running:
        yield running
