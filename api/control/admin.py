"""The admin listener's application. Everything except health and the documentation page requires the admin token.

Requests by a name that the listener does not know are refused, whatever they ask for.
"""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limiter.api.callers.host_header import AllowedHosts, HostChecked
from limiter.api.control.admin_token import BEARER, TokenRequired
from limiter.api.control.docs_page import DOCS, add_docs_page
from limiter.api.control.problem_handlers import Problem, add_problem_handlers

_MAX_BODY = 64 * 1024


def admin_app(version: str, token: str, hosts: AllowedHosts, health: APIRouter, guarded: Iterable[APIRouter]) -> ASGIApp:
    app = control_app(version, health, guarded)
    public = frozenset(route.path for route in health.routes if isinstance(route, APIRoute))
    return HostChecked(TokenRequired(_BodyBounded(app), token, public, DOCS), hosts)


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


class _BodyBounded:
    """Refuses bodies that are larger than any valid one, before they are held in memory and parsed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = 0

        async def receiving() -> Message:
            nonlocal length
            message = await receive()
            length += len(message.get("body", b""))
            if length > _MAX_BODY:
                raise HTTPException(413, f"The body must have at most {_MAX_BODY:,} bytes.")
            return message

        await self._app(scope, receiving, send)


class _Documented(FastAPI):
    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return document


def _forbid_storing(response: Response) -> None:
    # Some responses hold a raw key.
    response.headers["Cache-Control"] = "no-store"
