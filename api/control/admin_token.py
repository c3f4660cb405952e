"""The admin token: one that the operator sets, or one of the sidecar's own. Everything that is not public requires it."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Receive, Scope, Send

from limiter.api.answers import problem
from limiter.api.callers.bearer_token import LEAST_CHARACTERS, BearerToken
from limiter.api.command_errors import CannotStart
from limiter.api.data_folder import data_folder, open_folder, read_file, write_file

_log = structlog.get_logger("limiter.admin")

# Declares the token in the OpenAPI document. TokenRequired checks it, also on paths without an operation.
BEARER = HTTPBearer(scheme_name="bearer", description="The admin token, LIMITER_ADMIN_TOKEN.", auto_error=False)

_CHALLENGE = (b"www-authenticate", b'Bearer realm="limiter admin"')


@dataclass(frozen=True, slots=True)
class AdminToken:
    """`kept_in` is the file of a token of the sidecar's own, unless it could not be stored."""

    text: str = field(repr=False)
    kept_in: Path | None = None
    is_own: bool = False

    @property
    def is_weak(self) -> bool:
        return len(self.text) < LEAST_CHARACTERS


def own_admin_token(data: Path | None) -> AdminToken:
    """A token that is made once and kept in the data folder, where other programs of this user can read it."""
    try:
        file = open_folder(data_folder(data)) / "admin-token"
        text = (read_file(file) or "").strip()
        if not text:
            text = secrets.token_urlsafe(24)
            write_file(file, f"{text}\n")
    except CannotStart as error:
        # Requests to the front need no admin token.
        _log.warning("the admin token is not stored: set LIMITER_ADMIN_TOKEN, --admin-token-file or --data", reason=str(error))
        return AdminToken(secrets.token_urlsafe(24), is_own=True)
    return AdminToken(text, file, is_own=True)


class TokenRequired:
    """Answers 401 to every request without the token, except on the `public` paths and on everything below `public_folder`."""

    def __init__(self, app: ASGIApp, token: str, public: frozenset[str], public_folder: str) -> None:
        self._app, self._token = app, BearerToken(token)
        self._public, self._public_folder = public | {public_folder}, f"{public_folder}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_public(scope["path"]) or self._token.is_in(scope):
            await self._app(scope, receive, send)
        else:
            detail = "The admin API requires the admin token, as `Authorization: Bearer`."
            await problem(401, detail, headers=(_CHALLENGE,)).send(scope, send)

    def _is_public(self, path: str) -> bool:
        return path in self._public or path.startswith(self._public_folder)
