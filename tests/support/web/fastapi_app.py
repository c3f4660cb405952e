"""An application in FastAPI, called without a server."""

import asyncio
from contextlib import contextmanager

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from limiter import AsyncLimiter
from limiter.web.fastapi import exempt, limit_app, rate_limit
from limiter.web.visit import VISIT
from support.web.endpoints import LIMITS, OWN_HEADERS, PARTS
from support.web.reply import reply


def limited(path):
    return rate_limit(**LIMITS[path])


async def plain():
    return Response("plain", headers=OWN_HEADERS, media_type="text/plain")


async def address(request: Request):
    return Response(request.scope[VISIT].client_address)


async def respond(status: int):
    return Response(status_code=status)


async def stream():
    return StreamingResponse(iter(PARTS))


async def fail():
    raise RuntimeError("broken")


async def login(status: int):
    if status == 500:
        raise RuntimeError("broken")
    return Response(status_code=status)


async def on_error(_request: Request, _error: Exception):
    return Response(status_code=500)


def empty():
    async def endpoint():
        return Response()

    return endpoint


def application() -> FastAPI:
    app = FastAPI(exception_handlers={RuntimeError: on_error})
    for path, endpoint in {
        "/plain": plain,
        "/address": address,
        "/status/{status}": respond,
        "/stream": stream,
        "/fail": fail,
        "/exempt": exempt(empty()),
    }.items():
        app.add_api_route(path, endpoint)
    for path in ("/search", "/priced", "/post", "/a", "/b"):
        app.add_api_route(path, empty(), dependencies=[limited(path)], methods=["GET", "POST"])
    app.add_api_route("/login/{status}", login, dependencies=[limited("/login")])
    app.add_api_route("/twice", empty(), dependencies=[limited("/twice"), rate_limit("1/minute")])
    return app


@contextmanager
def fastapi_calls(server, prefix, limits, **options):
    with asyncio.Runner() as runner:
        limiter = AsyncLimiter(options.pop("redis", server.url), prefix=prefix, deadline=options.pop("deadline", 5))
        app = application()
        limit_app(app, limiter, limits, **options)

        async def ask(path, method, headers):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                answered = await client.request(method, path, headers=headers)
            return reply(answered.status_code, answered.headers.multi_items(), answered.content)

        yield lambda path, method="GET", **headers: runner.run(
            ask(path, method, {name.replace("_", "-"): value for name, value in headers.items()})
        )
        runner.run(limiter.close())
