"""Each provider's example runs on its own sidecar. They share one Redis, whose clock the tests only move forward."""

import pytest

from support.servers.provider import example, running_provider
from support.servers.set_clock import redis_with_set_clock


@pytest.fixture(scope="session")
def timed():
    with redis_with_set_clock() as (server, clock):
        yield server, clock


@pytest.fixture(scope="session")
def clock(timed):
    return timed[1]


@pytest.fixture(scope="module")
def provider(request, timed, tmp_path_factory):
    """The provider of the module `test_<provider>`. The module's GATEWAY holds the headers that its gateway adds."""
    name = request.module.__name__.rpartition("test_")[2]
    headers = getattr(request.module, "GATEWAY", {})
    with running_provider(tmp_path_factory.mktemp(name), example(name), timed[0].url, name, headers=headers) as running:
        yield running


@pytest.fixture(scope="module")
def accounts():
    """Account names, each used only once."""
    return (f"account-{number}" for number in range(1000))
