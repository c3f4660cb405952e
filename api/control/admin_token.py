"""The admin token, as `Authorization: Bearer`. Browsers never send it by themselves, so another site cannot make them use it."""

import hashlib
import hmac

from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Receive, Scope, Send

from limiter.api.answers import problem

# Declares the token in the OpenAPI document. TokenRequired checks it, also on paths without an operation.
BEARER = HTTPBearer(scheme_name="bearer", description="The admin token, LIMITER_ADMIN_TOKEN.", auto_error=False)

_CHALLENGE = (b"www-authenticate", b'Bearer realm="limiter admin"')


class TokenRequired:
    """Answers 401 to every request without the token, except on the `public` paths and on everything below `public_folder`."""

    def __init__(self, app: ASGIApp, token: str, public: frozenset[str], public_folder: str) -> None:
        self._app, self._token = app, _digest(token.encode())
        self._public, self._public_folder = public | {public_folder}, f"{public_folder}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_public(scope["path"]) or self._holds_token(scope):
            await self._app(scope, receive, send)
        else:
            detail = "The admin API requires the admin token, as `Authorization: Bearer`."
            await problem(401, detail, headers=(_CHALLENGE,)).send(scope, send)

    def _is_public(self, path: str) -> bool:
        return path in self._public or path.startswith(self._public_folder)

    def _holds_token(self, scope: Scope) -> bool:
        sent = b", ".join(value for name, value in scope["headers"] if name == b"authorization")
        scheme, _, credential = sent.partition(b" ")
        # Comparing digests takes the same time for every length, so timing does not reveal the token's length.
        return scheme.lower() == b"bearer" and hmac.compare_digest(_digest(credential.strip()), self._token)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
