"""The examples for Flask, Django, Pyramid and aiohttp: on real servers, with threads and with forked workers, and through test clients."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from support.web.example_servers import EXAMPLES, environment, example, get

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


FLASK = """
from flask_app import app
client = app.test_client()
print([client.get("/search?q=pen").status_code for _ in range(6)], client.get("/items").headers["X-RateLimit-Remaining"])
"""
DJANGO = """
import django_app
from django.test import Client
client = Client()
print([client.get("/search?q=pen").status_code for _ in range(6)], client.get("/items").headers["X-RateLimit-Remaining"])
"""
PYRAMID = """
from webob import Request
from pyramid_app import app
def get(target):
    return Request.blank(target, remote_addr="127.0.0.1").get_response(app)
print([get("/search?q=pen").status_code for _ in range(6)], get("/items").headers["X-RateLimit-Remaining"])
"""
AIOHTTP = """
import asyncio
from aiohttp.test_utils import TestClient, TestServer
from aiohttp_app import app
async def main():
    async with TestClient(TestServer(app)) as client:
        print([(await client.get("/search?q=pen")).status for _ in range(6)], (await client.get("/items")).headers["X-RateLimit-Remaining"])
asyncio.run(main())
"""


@pytest.mark.parametrize("script", [FLASK, DJANGO, PYRAMID, AIOHTTP], ids=["flask", "django", "pyramid", "aiohttp"])
def test_the_limits_of_an_example_hold_in_the_test_client_of_its_framework(tmp_path, redis_url, script):
    command = [sys.executable, "-c", script]
    printed = subprocess.run(
        command, env=os.environ | environment(tmp_path, redis_url), stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    assert printed == "[200, 200, 200, 200, 200, 429] 94\n"
