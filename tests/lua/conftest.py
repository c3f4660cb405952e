"""A limiter with an injected clock that tests move."""

import uuid

import pytest

from limiter import Limiter
from support.clock import Clock


@pytest.fixture(scope="session")
def clock():
    return Clock()


@pytest.fixture(scope="session")
def limiter(server, clock):
    with Limiter(server.url, clock=clock, prefix=f"t{uuid.uuid4().hex[:8]}", deadline=10) as connected:
        yield connected
