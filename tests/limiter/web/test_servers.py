"""The examples for Flask, Django, Pyramid and aiohttp: on real servers, with threads and with forked workers, and through test clients."""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from aiohttp.test_utils import TestClient, TestServer
from werkzeug.test import Client

from limiter import AsyncLimiter, Limiter
from support.web.example_servers import EXAMPLES, environment, example, get
from support.web.reply import reply

GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2")
SERVERS = {
    "flask, gunicorn": (*GUNICORN, "flask_app:app"),
    "flask, gunicorn, preloaded": (*GUNICORN, "--preload", "flask_app:app"),
    "flask, gunicorn, threads": (*GUNICORN, "--threads", "4", "flask_app:app"),
    "flask, gunicorn, gevent": (*GUNICORN, "--worker-class", "gevent", "flask_app:app"),
    "flask, its own server": ("-m", "flask", "--app", "flask_app", "run", "--port", "{port}"),
    "django, gunicorn": (*GUNICORN, "django_app:application"),
    "django, uvicorn": ("-m", "uvicorn", "--port", "{port}", "--log-level", "warning", "django_app:asgi_application"),
    "pyramid, gunicorn": (*GUNICORN, "pyramid_app:app"),
    "pyramid, waitress": ("-m", "waitress", "--listen", "127.0.0.1:{port}", "pyramid_app:app"),
    "aiohttp, its own server": (str(EXAMPLES / "aiohttp_app.py"),),
}


@pytest.fixture
def redis_url(server):
    """The examples use the default prefix, so they have a database of their own."""
    url = f"{server.url.removesuffix('/0')}/9"
    with redis.Redis.from_url(url) as client:
        yield url
        client.flushdb()


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS.keys())
def test_the_limits_of_an_example_hold_on_a_server(tmp_path, redis_url, command):
    """/search costs 2 of its 10, wherever a request is served."""
    with example(tmp_path, redis_url, *command) as port:
        listed = get(port, "/items")
        assert (listed.status, json.loads(listed.body)) == (200, ["pen", "paper"])
        assert listed.left == {"minute": 99, "hour": 999}
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: get(port, "/search?q=pen"), range(16)))
        assert sorted(each.status for each in found) == [200] * 5 + [429] * 11
        admitted = next(each for each in found if each.status == 200)
        assert json.loads(admitted.body) == {"found": "pen"}
        denied = next(each for each in found if each.status == 429)
        assert json.loads(denied.body)["title"].startswith("Request cannot be satisfied")
        assert get(port, "/items", "HEAD").left.keys() == {"minute", "hour"}


def check(call) -> None:
    assert call("/items").left == {"minute": 99, "hour": 999}
    assert [call("/search?q=pen").status for _ in range(6)] == [200] * 5 + [429]
    assert call("/nothing").status == 404


@pytest.fixture
def module(monkeypatch, redis_url):
    """`module("flask_app")`, with a deadline that a busy machine keeps."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        found = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, found)
        spec.loader.exec_module(found)
        return found

    monkeypatch.setenv("REDIS_URL", redis_url)
    for each in (AsyncLimiter, Limiter):
        monkeypatch.setitem(each.__init__.__kwdefaults__, "deadline", 10.0)
    return load


# WebOb imports cgi.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["flask_app", "pyramid_app"])
def test_the_limits_of_an_example_hold_in_a_test_client(name, module):
    client = Client(module(name).app)

    def call(target):
        answered = client.get(target)
        return reply(answered.status_code, answered.headers.items(), answered.data)

    check(call)


def test_the_limits_of_the_aiohttp_example_hold_in_its_test_client(module):
    with asyncio.Runner() as runner:

        async def ask(client, target):
            async with client.get(target) as answered:
                return reply(answered.status, answered.headers.items(), await answered.read())

        async def start():
            client = TestClient(TestServer(module("aiohttp_app").app))
            await client.start_server()
            return client

        client = runner.run(start())
        check(lambda target: runner.run(ask(client, target)))
        runner.run(client.close())


IN_DJANGO = """
import django, django_app
from django.test import Client
client = Client()
print([client.get("/search?q=pen").status_code for _ in range(6)], client.get("/items").headers["X-RateLimit-Remaining"])
"""


def test_the_limits_of_the_django_example_hold_in_its_test_client(tmp_path, redis_url):
    """In a process of its own, as a process has one configuration of Django."""
    command = [sys.executable, "-c", IN_DJANGO]
    printed = subprocess.run(command, env=os.environ | environment(tmp_path, redis_url), capture_output=True, text=True, check=True).stdout
    assert printed == "[200, 200, 200, 200, 200, 429] 94\n"
