"""Litestar: `uvicorn litestar_app:app`. The middleware wraps the application, so that it also counts requests that match no route."""

import os

from litestar import Litestar, get

from limiter.web.asgi import RateLimit, RateLimitMiddleware


@get("/items")
async def items() -> list[str]:
    return ["pen", "paper"]


@get("/search")
async def search() -> list[str]:
    return ["pen"]


app = RateLimitMiddleware(
    Litestar([items, search]),
    os.environ.get("REDIS_URL", "redis://localhost"),
    ["100/minute", "1000/hour", RateLimit("10/minute", cost=2, paths=["/search"])],
)
