"""Health, for load balancers and process supervisors."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

from limiter.api.control.problem_handlers import problem_responses

# Returns why the sidecar is not ready, or None.
Readiness = Callable[[], Awaitable[str | None]]


class HealthView(BaseModel):
    status: str


def health_router(readiness: Readiness) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def check_health() -> HealthView:
        """Succeeds as long as the process answers."""
        return HealthView(status="ok")

    @router.get("/readyz", responses=problem_responses(503))
    async def check_readiness() -> HealthView:
        """Succeeds if Redis answers and the sidecar is neither starting nor stopping."""
        reason = await readiness()
        if reason is not None:
            raise HTTPException(503, reason)
        return HealthView(status="ready")

    return router
