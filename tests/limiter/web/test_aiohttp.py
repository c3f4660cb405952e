"""What is special about aiohttp."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSServerHandshakeError, web
from aiohttp.test_utils import TestClient, TestServer

from limiter import AsyncLimiter, LimiterError
from limiter.web import RateLimit
from limiter.web.aiohttp import limit_app, rate_limit
from support.waiting import eventually


@pytest.fixture
def serve(server, prefix):
    """`async with serve(add, "1/minute") as client`: an application with what `add(app)` adds to it."""

    @asynccontextmanager
    async def serving(add, limits=(), **options):
        app = web.Application()
        async with AsyncLimiter(server.url, prefix=prefix, deadline=5) as limiter:
            limit_app(app, limiter, limits, **options)
            add(app)
            async with TestClient(TestServer(app)) as client:
                yield client

    return serving


async def hello(_request):
    return web.Response(text="hello")


def test_the_handshake_of_a_websocket_is_limited(serve):
    async def chat(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("welcome")
        await socket.close()
        return socket

    async def main():
        async with serve(lambda app: app.router.add_get("/", chat), "1/minute") as client:
            async with client.ws_connect("/") as socket:
                assert await socket.receive_str() == "welcome"
                assert socket._response.headers["X-RateLimit-Remaining"] == "0"  # noqa: SLF001 - the client has no other way
            with pytest.raises(WSServerHandshakeError) as denied:
                await client.ws_connect("/")
            assert denied.value.status == 429

    asyncio.run(main())


def test_an_own_response_to_denials_gets_the_headers(serve):
    async def respond(request, denial):
        await asyncio.sleep(0)
        return web.Response(text=f"{request.path} {denial.status}", status=403)

    async def main():
        async with serve(lambda app: app.router.add_get("/tea", hello), "1/minute", on_denied=respond) as client:
            await client.get("/tea")
            async with client.get("/tea") as denied:
                assert (denied.status, await denied.text()) == (403, "/tea 429")
                assert "Retry-After" in denied.headers

    asyncio.run(main())


def test_functions_may_be_async(serve):
    async def user(request):
        await asyncio.sleep(0)
        return request.headers["X-User"]

    async def main():
        async with serve(lambda app: app.router.add_get("/", hello), RateLimit("1/minute", subject=user)) as client:
            found = [(await client.get("/", headers={"X-User": name})).status for name in ("ada", "bob", "ada")]
            assert found == [200, 200, 429]

    asyncio.run(main())


def test_a_sub_application_is_limited_with_its_handlers(serve):
    sub = web.Application()
    sub.router.add_get("/hello", rate_limit("1/minute")(hello))

    async def main():
        async with serve(lambda app: app.add_subapp("/sub/", sub), "5/minute") as client:
            assert [(await client.get("/sub/hello")).status for _ in range(2)] == [200, 429]
            assert (await client.get("/nothing")).headers["X-RateLimit-Remaining"] == "3"

    asyncio.run(main())


def test_the_final_status_decides_on_a_refund(serve):
    """A middleware before ours makes a response of the error."""

    @web.middleware
    async def errors(request, handler):
        try:
            return await handler(request)
        except ValueError:
            return web.Response(status=400)

    async def fail(_request):
        raise ValueError

    def add(app):
        app.middlewares.insert(0, errors)
        app.router.add_get("/", fail)

    async def main():
        async with serve(add, RateLimit("1/minute", refund_when=lambda response: response.status == 400)) as client:
            assert [(await client.get("/")).headers["X-RateLimit-Remaining"] for _ in range(2)] == ["1", "1"]

    asyncio.run(main())


def test_methods_of_an_object_can_be_handlers(serve):
    class Shop:
        @rate_limit("1/minute")
        async def hello(self, request):
            return await hello(request)

    async def main():
        async with serve(lambda app: app.router.add_get("/", Shop().hello)) as client:
            assert [(await client.get("/")).status for _ in range(2)] == [200, 429]

    asyncio.run(main())


def test_a_limit_in_an_application_without_rate_limits_is_an_error(caplog):
    async def main():
        app = web.Application()
        app.router.add_get("/", rate_limit("1/minute")(hello))
        async with TestClient(TestServer(app)) as client:
            assert (await client.get("/")).status == 500

    asyncio.run(main())
    error = caplog.records[0].exc_info[1]
    assert isinstance(error, LimiterError)
    assert str(error).endswith("hello needs limit_app(app, ...), which this application does not have")


def test_an_application_is_limited_once(server):
    app = web.Application()
    limit_app(app, server.url, "1/minute")
    with pytest.raises(LimiterError, match="limit_app must be called once"):
        limit_app(app, server.url, "2/minute")


def test_a_limiter_from_a_url_is_closed_with_the_application(server, client):
    def connected():
        return client.info("clients")["connected_clients"]

    async def main():
        app = web.Application()
        limit_app(app, server.url, "5/minute")
        app.router.add_get("/", hello)
        async with TestClient(TestServer(app)) as browser:
            await browser.get("/")
            assert connected() > before

    before = connected()
    asyncio.run(main())
    eventually(lambda: connected() <= before, "the connections to close")


def test_a_client_that_breaks_off_its_body_gets_no_refund(server, prefix):
    begun, finished = asyncio.Event(), asyncio.Event()

    @rate_limit("1/minute", refund_when=lambda response: response.status >= 500)
    async def upload(request):
        begun.set()
        await request.read()
        return web.Response()

    async def finish(_request, _response):
        finished.set()

    async def main():
        app = web.Application()
        async with AsyncLimiter(server.url, prefix=prefix, deadline=5) as limiter, asyncio.timeout(30):
            limit_app(app, limiter)
            app.router.add_post("/", upload)
            app.on_response_prepare.append(finish)
            # The test server of aiohttp would cancel the handler.
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            try:
                _, writer = await asyncio.open_connection(*runner.addresses[0])
                writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
                await begun.wait()
                writer.close()
                await finished.wait()
                reader, writer = await asyncio.open_connection(*runner.addresses[0])
                writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                assert await reader.readline() == b"HTTP/1.1 429 Too Many Requests\r\n"
                writer.close()
            finally:
                await runner.cleanup()

    asyncio.run(main())
