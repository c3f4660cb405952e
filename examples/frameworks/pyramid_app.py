"""Pyramid: `gunicorn pyramid_app:app`, or `waitress-serve pyramid_app:app`. The WSGI middleware selects requests by their paths."""

import os

from pyramid.config import Configurator
from pyramid.request import Request

from limiter.web.wsgi import RateLimit, RateLimitMiddleware


def items(_: Request) -> list[str]:
    return ["pen", "paper"]


def search(request: Request) -> dict[str, str]:
    return {"found": request.params["q"]}


with Configurator() as config:
    for view in (items, search):
        config.add_route(view.__name__, f"/{view.__name__}")
        config.add_view(view, route_name=view.__name__, renderer="json")

app = RateLimitMiddleware(
    config.make_wsgi_app(),
    os.environ.get("REDIS_URL", "redis://localhost"),
    ["100/minute", "1000/hour", RateLimit("10/minute", cost=2, paths=["/search"])],
)
