"""The ASGI middleware, event by event and on a real server."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from limiter import AsyncLimiter, BackendError
from limiter.web.asgi import RateLimit, RateLimitMiddleware
from support.waiting import eventually
from support.web.asgi_client import call, headers_of, lifespan, limited, responding, scope_of, with_lifespan
from support.web.serving import hypercorn_serving, uvicorn_serving

CLOSED_BY_POLICY = 1008
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def world(server):
    with limited(server.url, deadline=5) as world:
        yield world


@pytest.fixture
def middleware(world, prefix):
    """An application with limits. Its counts are those of the test alone."""
    return lambda app, *limits, **options: RateLimitMiddleware(app, world.limiter, limits, **{"account": prefix, **options})


async def accepting(_scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", "subprotocol": "chat"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


def test_an_admitted_request_reaches_the_application_and_its_response_gets_headers(world, middleware):
    start, *bodies = world.call(middleware(responding(201), "2/minute", "burst 5, 10/s"), scope_of())
    assert (start["status"], [body["body"] for body in bodies]) == (201, [b"one", b"two"])
    headers = headers_of(start)
    assert headers.pop("x-ratelimit-reset") == "60"
    assert headers == {
        "content-type": "text/plain",
        "ratelimit-policy": '"minute";q=2;w=60, "burst";q=5;w=1',
        "ratelimit": '"minute";r=1;t=60, "burst";r=4;t=1',
        "x-ratelimit-limit": "2",
        "x-ratelimit-remaining": "1",
    }


def test_headers_of_the_same_names_are_replaced(world, middleware):
    theirs = [(b"X-RateLimit-Limit", b"9"), (b"x-ratelimit-limit", b"8"), (b"RateLimit", b"x"), (b"retry-after", b"7")]
    for policies in (["2/minute"], [RateLimit("2/minute", subject=lambda _: "ada")]):
        start, *_ = world.call(middleware(responding(503, theirs), *policies), scope_of())
        headers = headers_of(start)
        assert (headers["x-ratelimit-limit"], headers["retry-after"]) == ("2", "7")
        assert headers["ratelimit"].startswith('"minute"')


def test_a_denied_request_does_not_reach_the_application(world, middleware):
    async def app(*_):
        raise AssertionError

    limited = middleware(app, RateLimit("5/minute", cost=6))
    start, body = world.call(limited, scope_of())
    assert (start["status"], json.loads(body["body"])["status"]) == (429, 429)
    headers = headers_of(start)
    assert headers["content-length"] == str(len(body["body"]))
    assert headers["content-type"] == "application/problem+json"
    assert "retry-after" not in headers, "it can never pass"


def test_functions_get_the_request(world, middleware):
    seen = []

    def user(request):
        seen.append((request.method, request.path, request.headers["x-user"], request.query["q"], request.client_address))
        return request.headers["x-user"]

    scope = scope_of("/items", headers=[(b"x-user", b"ada"), (b"x-user", b"bob"), (b"x-forwarded-for", b"198.51.100.1")])
    scope["query_string"] = b"q=two%20words"
    app = middleware(responding(), RateLimit("5/minute", subject=user), trusted_proxies=["203.0.113.0/24"])
    assert world.call(app, scope)[0]["status"] == 200
    assert seen == [("GET", "/items", "ada,bob", "two words", "198.51.100.1")]


def test_all_lines_of_x_forwarded_for_are_read(world, middleware):
    lines = [(b"x-forwarded-for", b"198.51.100.1"), (b"x-forwarded-for", b"198.51.100.2, 203.0.113.9")]
    seen = []
    options = {"trusted_proxies": ["203.0.113.0/24"], "on_decision": lambda _, decision: seen.append(decision.charges[0].subject)}
    world.call(middleware(responding(), "5/minute", **options), scope_of(headers=lines))
    assert seen == ["198.51.100.2"]


def test_a_server_on_a_unix_socket_names_no_peer(world, middleware):
    for peer in (None, ("", 0)):
        assert world.call(middleware(responding(), "5/minute"), scope_of(peer=peer))[0]["status"] == 200


def test_an_application_may_answer_denials_itself(world, middleware):
    def own(request, denial):
        assert denial.status == 429

        async def app(_scope, _receive, send):
            await send({"type": "http.response.start", "status": 418, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": request.path.encode()})

        return app

    async def own_later(request, denial):
        return own(request, denial)

    for on_denied in (own, own_later):
        start, body = world.call(middleware(responding(), RateLimit("1/s", cost=2), on_denied=on_denied), scope_of("/x"))
        headers = headers_of(start)
        assert (start["status"], body["body"], headers["content-type"], headers["x-ratelimit-limit"]) == (418, b"/x", "text/plain", "1")


def test_a_request_leaves_no_reference_cycle_behind(world, middleware):
    scope = scope_of()
    before = set(scope)
    world.call(middleware(responding(), "5/minute"), scope)
    assert set(scope) == before


def test_nothing_is_touched_when_switched_off(world, middleware):
    start, *_ = world.call(middleware(responding(), "1/minute", enabled=False), scope_of())
    assert headers_of(start) == {"content-type": "text/plain"}


def test_a_message_of_the_application_is_not_changed(world, middleware):
    message = {"type": "http.response.start", "status": 200, "headers": ((b"a", b"b"),)}

    async def app(_scope, _receive, send):
        await send(message)

    assert headers_of(world.call(middleware(app, "5/minute"), scope_of())[0])["a"] == "b"
    assert message["headers"] == ((b"a", b"b"),)


def test_only_failures_are_charged_if_successes_are_refunded(world, middleware):
    failures = RateLimit(
        "3/minute", refund_when=lambda response: response.status < 400 and response.headers["content-type"] == "text/plain"
    )
    left = []
    for status in (200, 401, 302, 500):
        start, *_ = world.call(middleware(responding(status), failures), scope_of())
        left.append(int(headers_of(start)["x-ratelimit-remaining"]))
    assert left == [3, 2, 2, 1]


def test_an_exception_of_the_application_counts_as_status_500(world, middleware):
    seen = []

    async def app(*_):
        raise ZeroDivisionError

    def refund(response):
        seen.append(response.status)
        return True

    limited = middleware(app, RateLimit("1/minute", refund_when=refund))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            world.call(limited, scope_of())
    assert seen == [500] * 3


def test_a_client_that_leaves_gets_no_refund(world, middleware):
    async def hanging(*_):
        await asyncio.Event().wait()

    async def leave(app):
        task = asyncio.create_task(call(app, scope_of()))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    limits = [RateLimit("2/minute", refund_when=lambda _: True)]
    world.run(leave(middleware(hanging, *limits)))
    start, *_ = world.call(middleware(responding(), "2/minute"), scope_of())
    assert headers_of(start)["x-ratelimit-remaining"] == "0"


@pytest.mark.parametrize("answers", [False, True], ids=["raises", "answers 500"])
def test_a_client_that_breaks_off_its_body_gets_no_refund(world, middleware, answers):
    async def reading(scope, receive, send):
        assert (await receive())["type"] == "http.disconnect"
        if not answers:
            raise ConnectionError
        await responding(500)(scope, receive, send)

    app = middleware(reading, RateLimit("1/minute", refund_when=lambda response: response.status >= 500))
    with nullcontext() if answers else pytest.raises(ConnectionError):
        world.call(app, scope_of(), [{"type": "http.disconnect"}])
    assert world.call(app, scope_of())[0]["status"] == 429


def test_a_request_that_is_cancelled_during_the_decision_does_not_disturb_others(world, middleware):
    app = middleware(responding(), "1000/minute")

    async def main():
        tasks = [asyncio.create_task(call(app, scope_of())) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = world.run(main())
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False] * 25
    assert all(result[0]["status"] == 200 for result in results[1::2])


def test_a_handshake_is_charged_and_its_acceptance_gets_headers(world, middleware):
    connected = [{"type": "websocket.connect"}, {"type": "websocket.disconnect"}]
    (accept,) = world.call(middleware(accepting, "1/minute"), scope_of(kind="websocket"), connected)
    assert (accept["type"], accept["subprotocol"], headers_of(accept)["x-ratelimit-remaining"]) == ("websocket.accept", "chat", "0")


@pytest.mark.parametrize("extensions", [[], ["websocket.http.response"]])
def test_a_denied_handshake_is_closed_or_answered(world, middleware, extensions):
    app = middleware(accepting, RateLimit("1/minute", cost=2))
    sent = world.call(app, scope_of(kind="websocket", extensions=extensions), [{"type": "websocket.connect"}])
    if extensions:
        start, body = sent
        assert (start["type"], start["status"], body["type"]) == ("websocket.http.response.start", 429, "websocket.http.response.body")
        assert headers_of(start)["x-ratelimit-limit"] == "1"
    else:
        assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", CLOSED_BY_POLICY)]


def test_a_handshake_that_the_application_refuses_is_refunded_like_status_403(world, middleware):
    async def refusing(_scope, _receive, send):
        await send({"type": "websocket.close"})

    seen = []
    app = middleware(refusing, RateLimit("1/minute", refund_when=lambda response: not seen.append(response.status)))
    for _ in range(2):
        assert world.call(app, scope_of(kind="websocket"))[0]["type"] == "websocket.close"
    assert seen == [403, 403]


def connections(client) -> int:
    return client.info("clients")["connected_clients"]


def test_lifespan_events_pass_and_the_own_limiter_is_closed(server, prefix):
    async def main(client):
        app = RateLimitMiddleware(with_lifespan(responding()), server.url, "5/minute", account=prefix)
        before = connections(client)
        async with lifespan(app):
            assert (await call(app, scope_of()))[0]["status"] == 200
            assert connections(client) > before
        return before

    with server.client() as client:
        before = asyncio.run(main(client))
        eventually(lambda: connections(client) <= before, "the connections of the limiter are closed")


def test_one_middleware_serves_one_loop_after_another(server, prefix):
    """As with test clients, which start a loop for each test."""
    limiter = AsyncLimiter(server.url, deadline=5)
    app = RateLimitMiddleware(with_lifespan(responding(), limiter), limiter, "5/minute", account=prefix)

    async def left():
        async with lifespan(app):
            start, *_ = await call(app, scope_of())
        return headers_of(start)["x-ratelimit-remaining"]

    assert [asyncio.run(left()) for _ in range(3)] == ["4", "3", "2"]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_ends_without_a_shutdown_does_not_disturb_the_next(server, prefix):
    app = RateLimitMiddleware(responding(), server.url, "5/minute", account=prefix)
    assert [asyncio.run(call(app, scope_of()))[0]["status"] for _ in range(2)] == [200, 200]
    # The connections that nobody closed warn now, and not in another test.
    del app
    gc.collect()


FORKING = """
import asyncio, os, sys
from limiter import AsyncLimiter
from limiter.web.asgi import RateLimitMiddleware
from support.waiting import eventually
from support.web.asgi_client import call, lifespan, responding, scope_of, with_lifespan

limiter = AsyncLimiter(sys.argv[1], deadline=5)
app = RateLimitMiddleware(with_lifespan(responding(), limiter), limiter, "5/minute", account=sys.argv[2])

async def main():
    async with lifespan(app):
        return (await call(app, scope_of()))[0]["status"]

child = os.fork()
assert asyncio.run(main()) == 200
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_middleware_that_is_created_before_a_fork_works_in_both_processes(server, prefix):
    """As with gunicorn's preload."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    subprocess.run([sys.executable, "-c", FORKING, server.url, prefix], env=environment, check=True, timeout=60)
    with limited(server.url, deadline=5) as world:
        start, *_ = world.call(RateLimitMiddleware(responding(), world.limiter, "5/minute", account=prefix), scope_of())
    assert headers_of(start)["x-ratelimit-remaining"] == "2"


def test_without_redis_requests_pass_or_get_503():
    for failure, status in (("open", 200), ("closed", 503)):
        with limited("redis://127.0.0.1:1") as world:
            start, *_ = world.call(RateLimitMiddleware(responding(), world.limiter, "5/minute", failure=failure), scope_of())
        assert (start["status"], headers_of(start)["x-ratelimit-degraded"]) == (status, failure)


def test_a_dying_redis_does_not_fail_a_response_that_is_refunded(prefix, own_server):
    async def stopping(scope, receive, send):
        own_server.stop()
        await responding()(scope, receive, send)

    with limited(own_server.url, deadline=1) as world:
        app = RateLimitMiddleware(stopping, world.limiter, RateLimit("5/minute", refund_when=lambda _: True), account=prefix)
        start, *_ = world.call(app, scope_of())
    own_server.start()
    assert (start["status"], headers_of(start)["x-ratelimit-remaining"]) == (200, "4")


def test_an_exception_of_a_function_is_that_of_the_application(world, middleware):
    with pytest.raises(KeyError):
        world.call(middleware(responding(), RateLimit("5/minute", subject=lambda request: request.headers["missing"])), scope_of())


def test_a_limiter_of_another_loop_is_an_error(server):
    limiter = AsyncLimiter(server.url)
    ready, done = threading.Event(), threading.Event()

    async def elsewhere():
        await limiter.connect()
        ready.set()
        await asyncio.to_thread(done.wait)
        await limiter.close()

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    ready.wait()
    try:
        with pytest.raises(Exception, match="serves one event loop") as raised:
            asyncio.run(call(RateLimitMiddleware(responding(), limiter, "5/minute"), scope_of()))
        assert not isinstance(raised.value, BackendError)
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "serving",
    [partial(uvicorn_serving, ws="websockets-sansio"), partial(uvicorn_serving, ws="wsproto"), hypercorn_serving],
    ids=["websockets", "wsproto", "hypercorn"],
)
def test_on_a_server_a_denied_handshake_gets_a_response_with_a_body(server, prefix, serving):
    limiter = AsyncLimiter(server.url, deadline=5)
    app = RateLimitMiddleware(with_lifespan(accepting, limiter), limiter, "1/minute", account=prefix)
    with serving(app) as address:
        with connect(f"ws://{address}/", subprotocols=["chat"]) as socket:
            assert socket.response.headers["x-ratelimit-remaining"] == "0"
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://{address}/")
        response = refused.value.response
        assert (response.status_code, json.loads(response.body)["status"]) == (429, 429)
        assert 0 < int(response.headers["retry-after"]) <= 60


def test_on_uvicorn_a_stream_flows_and_a_denied_upload_keeps_the_connection(server, prefix):
    gate = threading.Event()

    async def streaming(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.to_thread(gate.wait, 30)
        await send({"type": "http.response.body", "body": b"last"})

    limiter = AsyncLimiter(server.url, deadline=5)
    app = RateLimitMiddleware(with_lifespan(streaming, limiter), limiter, "1/minute", account=prefix)
    with uvicorn_serving(app) as address, httpx2.Client(base_url=f"http://{address}", timeout=30) as client:
        with client.stream("GET", "/") as response:
            parts = response.iter_raw()
            assert next(parts) == b"first"
            gate.set()
            assert b"".join(parts) == b"last"
        for _ in range(2):
            assert client.post("/", content=b"x" * 1_000_000).status_code == 429
