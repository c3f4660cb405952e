"""An application in aiohttp, on its own server."""

import asyncio
from contextlib import contextmanager

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from limiter import AsyncLimiter
from limiter.web.aiohttp import RateLimits, client_address, decision_of, exempt, rate_limit
from support.web.endpoints import LIMITS, OWN_HEADERS, PARTS
from support.web.reply import reply


def application(redis, limits, **options) -> web.Application:
    app = web.Application()
    RateLimits(app, redis, limits, **options)

    def limited(path):
        return rate_limit(**LIMITS[path])

    async def plain(request):
        decision = decision_of(request)
        return web.Response(text="plain" if decision is None or decision.allowed else "denied", headers=OWN_HEADERS)

    async def address(request):
        return web.Response(text=client_address(request))

    async def respond(request):
        return web.Response(status=int(request.match_info["status"]))

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for part in PARTS:
            await response.write(part)
        return response

    async def fail(_request):
        raise RuntimeError("broken")

    @limited("/login")
    async def login(request):
        status = int(request.match_info["status"])
        if status == 500:
            raise RuntimeError("broken")
        if status >= 400:
            raise _error(status)
        return web.Response(status=status)

    class Class(web.View):
        @limited("/class")
        async def get(self):
            return web.Response()

        async def post(self):
            return web.Response()

    async def websocket(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.close()
        return socket

    app.router.add_get("/plain", plain)
    app.router.add_get("/address", address)
    app.router.add_route("*", "/status/{status}", respond)
    app.router.add_get("/stream", stream)
    app.router.add_get("/fail", fail)
    app.router.add_get("/exempt", exempt(_empty("exempted")))
    for path in ("/search", "/priced", "/post", "/a", "/b"):
        app.router.add_route("*", path, limited(path)(_empty(path[1:])))
    app.router.add_get("/login/{status}", login)
    app.router.add_view("/class", Class)
    app.router.add_get("/hidden", _hiding(limited("/hidden")(_empty("unseen"))))
    app.router.add_get("/twice", limited("/twice")(rate_limit("1/minute")(_empty("twice"))))
    app.router.add_get("/websocket", websocket)
    return app


def _hiding(handler):
    async def hidden(request):
        return await handler(request)

    return hidden


def _empty(name):
    async def handler(_request):
        return web.Response()

    handler.__name__ = handler.__qualname__ = name
    return handler


def _error(status):
    return {401: web.HTTPUnauthorized, 403: web.HTTPForbidden}[status]()


@contextmanager
def aiohttp_calls(server, prefix, limits, **options):
    with asyncio.Runner() as runner:
        limiter = AsyncLimiter(options.pop("redis", server.url), prefix=prefix, deadline=5)

        async def start():
            client = TestClient(TestServer(application(limiter, limits, **options)))
            await client.start_server()
            return client

        async def ask(path, method, headers):
            async with client.request(method, path, headers=headers) as response:
                return reply(response.status, response.headers.items(), await response.read())

        async def stop():
            await client.close()
            await limiter.close()

        client = runner.run(start())
        try:
            yield lambda path, method="GET", **headers: runner.run(
                ask(path, method, {name.replace("_", "-"): value for name, value in headers.items()})
            )
        finally:
            runner.run(stop())
