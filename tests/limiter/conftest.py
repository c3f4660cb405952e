"""Limiters of either client with an injected clock, and servers that can fail."""

import uuid

import pytest

from support.clock import Clock
from support.drivers import CLIENTS, limiter_of
from support.servers.redis_server import redis_server
from support.servers.relay import relay_to


@pytest.fixture(scope="session")
def clock():
    return Clock()


@pytest.fixture(scope="module", params=CLIENTS)
def limiter(request, server, clock):
    with limiter_of(request.param, server.url, clock=clock, prefix=f"t{uuid.uuid4().hex[:8]}") as connected:
        yield connected


@pytest.fixture(scope="module")
def own_server():
    """A server that a test may stop, kill or pause, and must leave running."""
    with redis_server() as running:
        yield running


@pytest.fixture
def relay(server):
    """A relay to the shared server, which can fail."""
    with relay_to(server.port) as running:
        yield running
