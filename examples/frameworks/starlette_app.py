"""Starlette: `uvicorn starlette_app:app`. Only failed logins count towards the limit of /login."""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from limiter.web.asgi import RateLimit, RateLimitMiddleware

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost")
failures = RateLimit("5/minute", paths=["/login"], methods=["POST"], refund_when=lambda response: response.status < 400)


async def items(_: Request) -> JSONResponse:
    return JSONResponse(["pen", "paper"])


async def login(request: Request) -> JSONResponse:
    is_right = await request.body() == b"sesame"
    return JSONResponse({"welcome": is_right}, status_code=200 if is_right else 403)


app = Starlette(
    routes=[Route("/items", items), Route("/login", login, methods=["POST"])],
    middleware=[Middleware(RateLimitMiddleware, REDIS_URL, ["100/minute", "1000/hour", failures])],
)
