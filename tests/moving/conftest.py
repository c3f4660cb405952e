"""Their limiters and ours, on the Redis of the tests."""

from contextlib import ExitStack

import pytest
import redis

import limiter
import limiter.web.asgi
import limiter.web.flask
from limiter import AsyncLimiter, Limiter
from support.moving import NOWHERE, block, called, run

# Their keys have no prefix of a test.
DATABASE = 9


@pytest.fixture(autouse=True)
def pools(monkeypatch):
    """Ends the connections of limiters that applications never close."""
    found, make = [], redis.ConnectionPool.__init__

    def made(self, *args, **options):
        make(self, *args, **options)
        found.append(self)

    monkeypatch.setattr(redis.ConnectionPool, "__init__", made)
    yield
    for pool in found:
        pool.disconnect()


@pytest.fixture
def their_redis(server):
    url = f"{server.url.rpartition('/')[0]}/{DATABASE}"
    yield url
    with redis.Redis.from_url(url) as client:
        client.flushdb()


@pytest.fixture
def our_redis(server, prefix, monkeypatch):
    """Ours are on keys of the test's own, with a deadline that a busy machine keeps."""
    opened = []

    def limiter_at(kind):
        def make(url):
            opened.append(kind(url, prefix=prefix, deadline=0.05 if url == NOWHERE else 10))
            return opened[-1]

        return make

    for module, kind in ((limiter, Limiter), (limiter.web.flask, Limiter), (limiter.web.asgi, AsyncLimiter)):
        monkeypatch.setattr(module, kind.__name__, limiter_at(kind))
    yield server.url
    for each in opened:
        # The test client closes the others.
        if isinstance(each, Limiter):
            each.close()


@pytest.fixture
def apps(their_redis, our_redis):
    """`apps("slowapi")` yields functions that call their application and ours."""
    with ExitStack() as stack:

        def start(page, theirs):
            sources = ((theirs, their_redis), ("limiter", our_redis))
            return [stack.enter_context(called(run(block(page, title), url)["app"])) for title, url in sources]

        yield start
