"""The counters of one subject under one policy."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel

from limiter.aio import AsyncLimiter
from limiter.api.control.problem_handlers import problem_responses
from limiter.api.front import RulesNow
from limiter.api.rules import Rules
from limiter.api.v1.bodies import LimitBody, Subject, render_limit
from limiter.policy import Policy

PolicyName = Annotated[str, Query(description="A policy of the configuration.")]
Account = Annotated[Subject | None, Query(description="The account under which the subject is charged; by default the subject itself.")]


class UsageView(BaseModel):
    limits: list[LimitBody]


def counter_router(watched: RulesNow, limiter: AsyncLimiter) -> APIRouter:
    router = APIRouter(tags=["counters"], responses=problem_responses(401, 404, 422, 503))

    @router.get("/usage")
    async def show_usage(policy: PolicyName, subject: Subject, account: Account = None) -> UsageView:
        """The state of each limit of the policy for the subject. Charges nothing."""
        decision = await limiter.peek(_policy(watched.rules, policy), subject, account=account)
        if decision.degraded:
            raise HTTPException(503, "Redis does not answer.")
        return UsageView(limits=[LimitBody(**render_limit(state)) for state in decision.limits])

    @router.post("/reset", status_code=204)
    async def reset_usage(policy: PolicyName, subject: Subject, account: Account = None) -> None:
        """Delete everything counted for the subject under the policy."""
        await limiter.reset(_policy(watched.rules, policy), subject, account=account)

    return router


def _policy(rules: Rules, name: str) -> Policy:
    if name not in rules.countable:
        raise HTTPException(404, f"policy must be one of {', '.join(sorted(rules.countable))}, not {name!r}")
    return rules.countable[name]
