"""The Python of docs/frameworks.md runs. Its parts for applications without an event loop are tested in the same way."""

import os
import re
import subprocess
import sys

import pytest

import limiter
import limiter.web.asgi
from limiter.web import RateLimit
from limiter.web.declaration import declared
from support.pages import ROOT, blocks
from support.web.asgi_client import limited, scope_of

PAGE = (ROOT / "docs/frameworks.md").read_text()
TITLED = r'(?ms)^```python title="(\S+)"\n(.*?)^```'


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def names_of(*titles: str) -> dict:
    """What the Python blocks of these sections define."""
    names: dict = {}
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
