"""The control plane: health, what is in force, how limits stand, for operators. Its own listener, and a token for all but health."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from limiter.aio import AsyncLimiter
from limiter.api.answers import problem
from limiter.api.control.openapi import front_document
from limiter.api.front import RulesNow
from limiter.api.v1.bodies import LimitTold, Subject, limit_told
from limiter.errors import BackendError, InvalidPolicy
from limiter.policy import Policy
from limiter.problems import CONTENT_TYPE

T = TypeVar("T")

_OPEN = frozenset({"/healthz", "/readyz"})
_READING = frozenset({"GET", "HEAD"})


class ProblemTold(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


def _documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {CONTENT_TYPE: {"schema": ProblemTold.model_json_schema()}}
    return {status: {"description": "Refused", "content": content} for status in (401, *statuses)}


class PolicyTold(BaseModel):
    name: str
    failure: str | None
    limits: list[dict[str, Any]]


class ConfigTold(BaseModel):
    digest: str
    policies: list[str]
    tiers: list[str]
    warnings: list[str]


class HealthTold(BaseModel):
    status: str


class UsageTold(BaseModel):
    limits: list[LimitTold]


@dataclass(frozen=True, slots=True)
class Control:
    """What the control plane has at hand. `ready`: why this is not ready, or None; `front`: the front listener's URL."""

    watched: RulesNow
    limiter: AsyncLimiter
    ready: Callable[[], Awaitable[str | None]]
    front: str
    version: str


def admin_app(control: Control, token: str, routers: Iterable[APIRouter] = ()) -> ASGIApp:
    """`routers` are others' parts of the control plane."""
    app = FastAPI(title="limiter: control", version=control.version, redoc_url=None)
    app.add_exception_handler(StarletteHTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _validation_problem)
    app.include_router(_health(control))
    app.include_router(_in_force(control))
    app.include_router(_counts(control))
    for router in routers:
        app.include_router(router)
    return TokenRequired(app, token)


def _health(control: Control) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def alive() -> HealthTold:
        """Always, as long as there is anybody to answer."""
        return HealthTold(status="ok")

    @router.get("/readyz", responses={503: _documented(503)[503]})
    async def ready() -> HealthTold:
        """When Redis answers, and nobody has asked us to stop."""
        trouble = await control.ready()
        if trouble is not None:
            raise HTTPException(503, trouble)
        return HealthTold(status="ready")

    return router


def _in_force(control: Control) -> APIRouter:
    router = APIRouter(tags=["configuration"], responses=_documented())

    @router.get("/policies")
    async def policies() -> list[PolicyTold]:
        """The policies in force."""
        return [_policy_told(policy) for policy in control.watched.rules.policies.values()]

    @router.get("/config")
    async def config() -> ConfigTold:
        """Which configuration is in force."""
        rules = control.watched.rules
        return ConfigTold(digest=rules.digest, policies=sorted(rules.policies), tiers=sorted(rules.tiers), warnings=list(rules.warnings))

    @router.get("/front/openapi.json")
    async def front_openapi() -> dict[str, Any]:
        """The OpenAPI document of the front listener."""
        return front_document(control.watched.rules, control.front, control.version)

    return router


def _counts(control: Control) -> APIRouter:
    router = APIRouter(tags=["counts"], responses=_documented(404, 422, 503))

    @router.get("/usage")
    async def usage(policy: str, subject: Subject, account: Annotated[Subject | None, Query()] = None) -> UsageTold:
        """How each limit of the policy stands for the subject; nothing is charged."""
        decision = await _asked(control.limiter.peek(_policy(control, policy), subject, 0, account=account))
        if decision.degraded:
            raise HTTPException(503, "Redis does not answer.")
        return UsageTold(limits=[LimitTold(**limit_told(state)) for state in decision.limits])

    @router.post("/reset", status_code=204)
    async def reset(policy: str, subject: Subject, account: Annotated[Subject | None, Query()] = None) -> None:
        """Forget all that was counted for the subject under the policy."""
        await _asked(control.limiter.reset(_policy(control, policy), subject, account=account))

    return router


def _policy(control: Control, name: str) -> Policy:
    policies = control.watched.rules.policies
    if name not in policies:
        raise HTTPException(404, f"there is no policy {name!r}; there is {', '.join(sorted(policies))}")
    return policies[name]


async def _asked(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except InvalidPolicy as error:
        raise HTTPException(422, str(error)) from None
    except BackendError as error:
        raise HTTPException(503, str(error)) from None


def _policy_told(policy: Policy) -> PolicyTold:
    limits = [
        {"name": limit.name, "kind": type(limit).__name__, "capacity": limit.capacity, "seconds": limit.seconds, "shadow": limit.shadow}
        for limit in policy.limits
    ]
    return PolicyTold(name=policy.name, failure=policy.failure, limits=limits)


async def _http_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)  # noqa: S101 - it is registered for these
    return _response(error.status_code, str(error.detail), error.headers)


async def _validation_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for these
    mistakes = (f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors())
    return _response(422, "; ".join(mistakes), None)


def _response(status: int, detail: str, headers: Any) -> Response:
    answer = problem(status, detail)
    return Response(answer.body, status, headers, CONTENT_TYPE)


class TokenRequired:
    """Bearer for programs; Basic, with the token as password and any user, for a person's browser, which may then only read:
    browsers send Basic along with requests that other sites make them make."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, _digest(token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN or self._admits(scope):
            await self._app(scope, receive, send)
            return
        challenges = ((b"www-authenticate", b'Bearer realm="limiter admin"'), (b"www-authenticate", b'Basic realm="limiter admin"'))
        await problem(401, "This needs the admin token, as `Authorization: Bearer`.", headers=challenges).send(scope, send)

    def _admits(self, scope: Scope) -> bool:
        sent = b", ".join(value for name, value in scope["headers"] if name == b"authorization")
        scheme, _, credential = sent.partition(b" ")
        if scheme.lower() == b"basic" and scope["method"] in _READING:
            credential = _password(credential)
        elif scheme.lower() != b"bearer":
            return False
        # Digests, so that not even the length of the token shows in the time this takes.
        return hmac.compare_digest(_digest(credential.strip()), self._token)


def _password(credential: bytes) -> bytes:
    try:
        return base64.b64decode(credential.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
