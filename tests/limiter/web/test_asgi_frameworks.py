"""The examples of ASGI frameworks, on their own servers and with their own test clients."""

import asyncio
import importlib.util
import re
import sys

import httpx2
import pytest
from litestar import Litestar, get
from litestar.testing import TestClient as LitestarClient
from quart.testing import QuartClient
from starlette.testclient import TestClient as StarletteClient

import limiter.web.asgi
from limiter import AsyncLimiter
from limiter.web.asgi import RateLimit, RateLimitMiddleware
from support.pages import ROOT
from support.web.asgi_client import limited, scope_of
from support.web.serving import hypercorn_serving, uvicorn_serving

EXAMPLES = ROOT / "examples/frameworks"
MOST_LINES_OF_USE = 5
SERVING = {
    "fastapi_app": uvicorn_serving,
    "starlette_app": uvicorn_serving,
    "litestar_app": uvicorn_serving,
    "quart_app": hypercorn_serving,
}


@pytest.fixture
def example(server, prefix, monkeypatch):
    """Loads an example with counts that are those of the test alone."""
    monkeypatch.setenv("REDIS_URL", server.url)
    # With a deadline that a busy machine keeps.
    monkeypatch.setattr(limiter.web.asgi, "AsyncLimiter", Patient.on(prefix))

    def loaded(name: str):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return loaded


class Patient(AsyncLimiter):
    @classmethod
    def on(cls, prefix: str):
        return lambda url: cls(url, prefix=prefix, deadline=10)


def application(module):
    return getattr(module, "limited", module.app)


def shown(response) -> tuple[int, str | None]:
    return response.status_code, response.headers.get("x-ratelimit-remaining")


@pytest.mark.parametrize("name", SERVING)
def test_an_example_is_limited_on_its_server(example, name):
    with SERVING[name](application(example(name))) as address, httpx2.Client(base_url=f"http://{address}", timeout=30) as client:
        assert shown(client.get("/items")) == (200, "99")
        assert shown(client.get("/nothing")) == (404, "98")
        if name == "starlette_app":
            tries = [client.post("/login", content=password) for password in ("sesame", *["wrong"] * 5, "sesame")]
            assert [response.status_code for response in tries] == [200, *[403] * 5, 429]
        else:
            tries = [client.get("/search", params={"q": "pen"}) for _ in range(6)]
            assert [response.status_code for response in tries] == [200] * 5 + [429]
        assert tries[-1].json()["status"] == 429
        assert "retry-after" in tries[-1].headers
        assert shown(client.get("/items")) == (200, "91" if name == "starlette_app" else "92")


def test_starlette_and_fastapi_are_limited_in_their_test_client(example):
    for name in ("starlette_app", "fastapi_app"):
        with StarletteClient(application(example(name))) as client:
            assert client.get("/items").json() == ["pen", "paper"]


def test_litestar_is_limited_in_its_test_client(example):
    with LitestarClient(application(example("litestar_app"))) as client:
        assert shown(client.get("/search", params={"q": "x"})) == (200, "8")


def test_litestar_is_limited_however_a_path_is_written(server, prefix):
    @get("/login")
    async def login() -> None:
        return None

    with limited(server.url, deadline=5) as world:
        app = RateLimitMiddleware(Litestar([login]), world.limiter, [RateLimit("2/minute", paths=["/login"])], account=prefix)
        paths = "/login", "/login/", "//login", "/login//"
        scopes = [{**scope_of(path), "raw_path": path.encode(), "root_path": "", "path_params": {}} for path in paths]
        assert [world.call(app, scope)[0]["status"] for scope in scopes] == [200, 200, 429, 429]


def test_quart_is_limited_in_its_test_client(example):
    module = example("quart_app")

    async def main():
        # The client calls what `app` is called by a server.
        module.app.asgi_app, own = module.limited, module.app.asgi_app
        module.limited.app = own
        async with module.app.test_app() as running:
            client: QuartClient = running.test_client()
            return await client.get("/search", query_string={"q": "x"})

    response = asyncio.run(main())
    assert (response.status_code, response.headers["x-ratelimit-remaining"]) == (200, "8")


@pytest.mark.parametrize("name", SERVING)
def test_an_example_has_at_most_five_lines_of_use(name):
    text = (EXAMPLES / f"{name}.py").read_text().partition('"""\n')[2]
    used = re.findall(r"(?i)^.*(?:limit|redis_url|100/minute).*$", text, re.MULTILINE)
    assert 2 <= len(used) <= MOST_LINES_OF_USE, used
