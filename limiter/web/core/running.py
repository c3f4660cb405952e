"""Runs the steps of `Admission.admit` and `Ruling.refund` on either client."""

from collections.abc import Awaitable, Coroutine
from inspect import iscoroutine
from typing import Any, TypeVar, cast

from limiter.aio import AsyncLimiter
from limiter.errors import LimiterError
from limiter.protocol.driver import drive, drive_async
from limiter.protocol.group import Group
from limiter.sync import Limiter
from limiter.web.core.admission import Steps

T = TypeVar("T")


def run(limiter: Limiter, steps: Steps[T]) -> T:
    def perform(step: object) -> object:
        if isinstance(step, Group):
            return limiter.decide(step)
        if iscoroutine(step):
            step.close()
        raise LimiterError("subject, policy, cost and exempt_when must not be async here: nothing awaits them in this framework")

    return drive(steps, perform)


def run_async(limiter: AsyncLimiter, steps: Steps[T]) -> Coroutine[Any, Any, T]:
    def perform(step: object) -> Awaitable[Any]:
        return limiter.decide(step) if isinstance(step, Group) else cast("Awaitable[Any]", step)

    return drive_async(steps, perform)
