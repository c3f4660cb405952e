"""The admin listener's application. Everything except health and the documentation page requires the admin token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from limiter.aio import AsyncLimiter
from limiter.api.control.admin_token import BEARER, TokenRequired
from limiter.api.control.configuration_routes import configuration_router
from limiter.api.control.counter_routes import counter_router
from limiter.api.control.docs_page import DOCS, add_docs_page
from limiter.api.control.health_routes import health_router
from limiter.api.control.problem_handlers import Problem, add_problem_handlers
from limiter.api.front import RulesNow


@dataclass(frozen=True, slots=True)
class Control:
    """What the control plane reads. `ready` returns why the sidecar is not ready, or None; `front` is the front listener's URL."""

    watched: RulesNow
    limiter: AsyncLimiter
    ready: Callable[[], Awaitable[str | None]]
    front: str
    version: str


def admin_app(control: Control, token: str, routers: Iterable[APIRouter] = ()) -> ASGIApp:
    """The whole control plane; `routers` come from the other parts of the sidecar."""
    health = health_router(control.ready)
    guarded = [
        configuration_router(control.watched, control.front, control.version),
        counter_router(control.watched, control.limiter),
        *routers,
    ]
    app = control_app(control.version, health, guarded)
    public = frozenset(route.path for route in health.routes if isinstance(route, APIRoute))
    return TokenRequired(app, token, public, DOCS)


def control_app(version: str, health: APIRouter, guarded: Iterable[APIRouter]) -> FastAPI:
    """The application without the token check. Its OpenAPI document declares that the `guarded` routers require the token."""
    app = _Documented(
        title="limiter: admin API",
        description="Health, configuration, counters, accounts and keys.",
        version=version,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    add_problem_handlers(app)
    app.include_router(health)
    for router in guarded:
        app.include_router(router, dependencies=[Depends(BEARER), Depends(_forbid_storing)])
    add_docs_page(app)
    return app


class _Documented(FastAPI):
    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return document


def _forbid_storing(response: Response) -> None:
    # Some responses hold a raw key.
    response.headers["Cache-Control"] = "no-store"
