"""The Python of docs/frameworks.md runs. Its parts for applications without an event loop are tested in the same way."""

import asyncio
import os
import re
import subprocess
import sys
from functools import partial
from types import ModuleType

import pytest
from aiohttp.test_utils import TestClient, TestServer
from django import urls

import limiter
import limiter.web.aiohttp
import limiter.web.asgi
import limiter.web.flask
import limiter.web.wsgi
from limiter.web import RateLimit
from limiter.web.core.declaration import declared
from support.pages import ROOT, blocks
from support.web.asgi_client import limited, scope_of
from support.web.django_app import django_calls
from support.web.wsgi_calls import call

PAGE = (ROOT / "docs/frameworks.md").read_text()
TITLED = r'(?ms)^```python title="(\S+)"\n(.*?)^```'


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def names_of(*titles: str) -> dict:
    """What the Python blocks of these sections define."""
    names: dict = {"__name__": "page"}
    for title in titles:
        for code in blocks(section(title), "python"):
            exec(compile(code, title, "exec"), names)  # noqa: S102 - running the examples is the test
    return names


@pytest.fixture
def world(server, prefix, monkeypatch):
    """All limiters of the page are on the Redis of the tests."""
    with limited(server.url, prefix=prefix, deadline=5) as world:
        for module in (limiter, limiter.web.asgi):
            monkeypatch.setattr(module, "AsyncLimiter", lambda *_, **__: world.limiter)
        yield world


def test_the_fastapi_application_is_limited(world):
    app = names_of("FastAPI")["app"]
    for path, limit in (("/search", "10"), ("/reports", "100"), ("/missing", "100")):
        start, *_ = world.call(app, {**scope_of(path), "query_string": b"q=x"})
        assert dict(start["headers"])[b"x-ratelimit-limit"].decode() == limit


def test_the_asgi_application_is_limited(world):
    app = names_of("Starlette, Litestar, Quart and other ASGI applications")["app"]
    start, *_ = world.call(app, {**scope_of("/login"), "method": "POST"})
    assert dict(start["headers"])[b"x-ratelimit-limit"] == b"5"


@pytest.fixture
def sync_limiter(server, prefix, monkeypatch):
    """All sync limiters of the page are on the Redis of the tests."""
    with limiter.Limiter(server.url, prefix=prefix, deadline=5) as connected:
        for module in (limiter.web.flask, limiter.web.wsgi):
            monkeypatch.setattr(module, "Limiter", lambda *_: connected)
        yield connected


@pytest.mark.usefixtures("sync_limiter")
def test_the_flask_application_is_limited():
    found = names_of("Flask")
    found["api"].add_url_rule("/api", view_func=lambda: "", endpoint="index")
    found["app"].register_blueprint(found["api"])
    client = found["app"].test_client()
    assert client.get("/search?q=x").headers["X-RateLimit-Limit"] == "10"
    assert '"day";r=999;' in client.get("/api").headers["RateLimit"]


@pytest.mark.usefixtures("sync_limiter")
def test_the_wsgi_application_is_limited():
    app = names_of("Pyramid, Bottle and other WSGI applications")["app"]
    assert call(app).body == b"99 left"
    assert call(app, "/login", "POST").headers["x-ratelimit-limit"] == ["5"]


def test_the_django_project_is_limited(server, prefix):
    found = names_of("Django")
    module = ModuleType("shop_urls")
    module.urlpatterns = [urls.path("search", found["search"])]
    with django_calls(server, prefix, found["LIMITER"]["limits"], middleware=found["MIDDLEWARE"], urls=module) as calling:
        assert calling("/search?q=x").headers["x-ratelimit-limit"] == ["10"]


def test_the_aiohttp_application_is_limited(server, prefix, monkeypatch):
    make = partial(limiter.AsyncLimiter, server.url, prefix=prefix, deadline=5)
    monkeypatch.setattr(limiter.web.aiohttp, "AsyncLimiter", lambda _: make())

    async def main():
        async with TestClient(TestServer(names_of("aiohttp")["app"])) as client, client.get("/search?q=x") as found:
            assert found.headers["X-RateLimit-Limit"] == "10"

    asyncio.run(main())


def test_the_limits_are_valid_together():
    found = names_of("What to charge", "Charge only for certain responses")
    limits = [each for each in found.values() if isinstance(each, RateLimit) and each.name]
    assert len(declared([*limits, found["standard"]])) == len(limits) + 1


def test_the_remaining_applications_answer(world):
    for title in ("Your own response to a denial", "Without Redis"):
        start, *_ = world.call(names_of("FastAPI", title)["app"], scope_of())
        assert dict(start["headers"])[b"x-ratelimit-limit"] == b"100"


def test_the_fixture_and_the_test_of_the_page_pass_in_a_project_of_their_own(tmp_path):
    files = re.findall(TITLED, PAGE)
    assert {name for name, _ in files} == {"conftest.py", "test_shop.py"}
    for name, code in files:
        (tmp_path / name).write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, "-W", "error", tmp_path]
    ended = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert "1 passed" in ended.stdout, ended.stdout
