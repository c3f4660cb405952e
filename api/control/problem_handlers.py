"""Errors of the control plane as problem details: the status of each kind of error, and how it appears in the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from limiter.api.registry import Conflict, InvalidRecord, UnknownAccount, UnknownKey
from limiter.errors import BackendError, InvalidPolicy, LimiterError
from limiter.problems import CONTENT_TYPE, problem_body

_STATUSES: dict[type[LimiterError], int] = {
    InvalidRecord: 422,
    InvalidPolicy: 422,
    UnknownAccount: 404,
    UnknownKey: 404,
    Conflict: 409,
    BackendError: 503,
}

_MEANINGS = {
    400: "The body is not UTF-8 text.",
    401: "The request has no admin token, or a wrong one.",
    404: "The request names something that does not exist.",
    409: "The change conflicts with the current state.",
    413: "The body is too large.",
    422: "The request is malformed; `detail` says which field, and why.",
    503: "Redis does not answer, or the sidecar is not ready.",
}


class Problem(BaseModel):
    """Problem details, as defined by RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a FastAPI route that can fail with these statuses."""
    return {status: problem_response(_MEANINGS[status]) for status in statuses}


def problem_response(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def add_problem_handlers(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def render_http_error(_: Request, error: HTTPException) -> Response:
        return _response(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def render_validation_error(_: Request, error: RequestValidationError) -> Response:
        # The input is not repeated: it may hold a raw key.
        mistakes = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return _response(422, "; ".join(mistakes))

    @app.exception_handler(LimiterError)
    async def render_limiter_error(_: Request, error: LimiterError) -> Response:
        status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)
        return _response(status, str(error))


def _response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(problem_body(status, detail), status, {**(headers or {}), "Cache-Control": "no-store"}, CONTENT_TYPE)
