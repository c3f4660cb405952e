"""A private Redis for the run, and a unique prefix for each test."""

import os
import uuid
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, settings

from support.servers.redis_server import RedisServer, redis_server

# On a busy machine, a slow example does not mean a defect.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# CONTRIBUTING.md says when to use it.
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
# In CI, a property tries the same examples every time: CI judges the change, and `make test` searches for new examples.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hostile", type=int, default=6_000, help="how many hostile requests tests/api/test_hostile.py sends")


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(scope="session")
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as connected:
        yield connected


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}"
