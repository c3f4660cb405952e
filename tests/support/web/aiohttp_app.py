"""An application in aiohttp, on its own server."""

import asyncio
from contextlib import contextmanager

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from limiter import AsyncLimiter
from limiter.web.aiohttp import client_address, decision_of, exempt, limit_app, rate_limit
from support.web.endpoints import LIMITS, OWN_HEADERS, PARTS
from support.web.reply import reply


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
    if status == 401:
        raise web.HTTPUnauthorized
    return web.Response(status=status)


class Class(web.View):
    @limited("/class")
    async def get(self):
        return web.Response()

    async def post(self):
        return web.Response()


def empty(name):
    async def handler(_request):
        return web.Response()

    handler.__name__ = handler.__qualname__ = name
    return handler


def hiding(handler):
    """A decorator that does not use functools.wraps."""

    async def hidden(request):
        return await handler(request)

    return hidden


HANDLERS = {
    "/plain": plain,
    "/address": address,
    "/status/{status}": respond,
    "/stream": stream,
    "/fail": fail,
    "/exempt": exempt(empty("exempted")),
    **{path: limited(path)(empty(path[1:])) for path in ("/search", "/priced", "/post", "/a", "/b")},
    "/login/{status}": login,
    "/class": Class,
    "/hidden": hiding(limited("/hidden")(empty("unseen"))),
    "/twice": limited("/twice")(rate_limit("1/minute")(empty("twice"))),
}


@contextmanager
def aiohttp_calls(server, prefix, limits, **options):
    with asyncio.Runner() as runner:
        limiter = AsyncLimiter(options.pop("redis", server.url), prefix=prefix, deadline=options.pop("deadline", 5))

        async def start():
            app = web.Application()
            limit_app(app, limiter, limits, **options)
            for path, handler in HANDLERS.items():
                app.router.add_route("*", path, handler)
            client = TestClient(TestServer(app))
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
