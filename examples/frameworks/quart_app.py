"""Quart: `hypercorn quart_app:limited`."""

import os

from quart import Quart, request

from limiter.web.asgi import RateLimit, RateLimitMiddleware

app = Quart(__name__)


@app.get("/items")
async def items() -> list[str]:
    return ["pen", "paper"]


@app.get("/search")
async def search() -> dict[str, str]:
    return {"found": request.args["q"]}


limited = RateLimitMiddleware(
    app,
    os.environ.get("REDIS_URL", "redis://localhost"),
    ["100/minute", "1000/hour", RateLimit("10/minute", cost=2, paths=["/search"])],
)
