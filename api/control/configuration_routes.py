"""The configuration in force."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from limiter.api.control.front_document import front_document
from limiter.api.control.problem_handlers import problem_responses
from limiter.api.front import RulesNow
from limiter.policy import Policy


class PolicyLimitView(BaseModel):
    name: str
    kind: str
    capacity: int
    seconds: int
    shadow: bool


class PolicyView(BaseModel):
    name: str
    failure: str | None
    limits: list[PolicyLimitView]


class ConfigurationView(BaseModel):
    """`digest` changes when the content of the file changes."""

    digest: str
    policies: list[str]
    tiers: list[str]
    warnings: list[str]


def configuration_router(watched: RulesNow, front: str, version: str) -> APIRouter:
    router = APIRouter(tags=["configuration"], responses=problem_responses(401))

    @router.get("/policies")
    async def list_policies() -> list[PolicyView]:
        """The policies in force."""
        return [_policy_view(policy) for policy in watched.rules.policies.values()]

    @router.get("/config")
    async def show_configuration() -> ConfigurationView:
        """Which configuration is in force."""
        rules = watched.rules
        return ConfigurationView(
            digest=rules.digest, policies=sorted(rules.policies), tiers=sorted(rules.tiers), warnings=list(rules.warnings)
        )

    @router.get("/front/openapi.json")
    async def show_front_document() -> dict[str, Any]:
        """The OpenAPI document of the front listener."""
        return front_document(watched.rules, front, version)

    return router


def _policy_view(policy: Policy) -> PolicyView:
    limits = [
        PolicyLimitView(name=limit.name, kind=type(limit).__name__, capacity=limit.capacity, seconds=limit.seconds, shadow=limit.shadow)
        for limit in policy.limits
    ]
    return PolicyView(name=policy.name, failure=policy.failure, limits=limits)
