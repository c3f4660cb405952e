"""The registry over HTTP: the same verbs as `limiter accounts`, `limiter keys` and `limiter audit`."""

from __future__ import annotations

from fastapi import APIRouter

from limiter.api.control.account_routes import add_account_routes
from limiter.api.control.audit_routes import add_audit_route
from limiter.api.control.key_routes import add_key_change_routes, add_key_routes
from limiter.api.control.problem_handlers import problem_responses
from limiter.api.registry import Registry


def registry_router(registry: Registry) -> APIRouter:
    router = APIRouter(responses=problem_responses(400, 401, 404, 409, 422, 503))
    add_account_routes(router, registry.accounts)
    add_key_routes(router, registry)
    add_key_change_routes(router, registry)
    add_audit_route(router, registry.audit)
    return router
