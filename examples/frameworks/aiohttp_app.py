"""aiohttp: `python aiohttp_app.py`. The limits of a handler and the default limits are one decision."""

import os

from aiohttp import web

from limiter.web.aiohttp import limit_app, rate_limit

routes = web.RouteTableDef()


@routes.get("/items")
async def items(_: web.Request) -> web.Response:
    return web.json_response(["pen", "paper"])


@routes.get("/search")
@rate_limit("10/minute", cost=2)
async def search(request: web.Request) -> web.Response:
    return web.json_response({"found": request.query["q"]})


app = web.Application()
limit_app(app, os.environ.get("REDIS_URL", "redis://localhost"), ["100/minute", "1000/hour"])
app.add_routes(routes)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
