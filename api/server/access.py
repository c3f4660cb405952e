"""The access log: one line for each request. It omits the query and the headers, because they may hold secrets."""

import time

import structlog
from starlette.types import Message, Receive, Scope, Send

from limiter.api.answers import WRITE_ANSWER
from limiter.api.forwarded import peer_of
from limiter.api.front import Application

_log = structlog.get_logger("limiter.access")


def logged(app: Application) -> Application:
    async def logging(scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        # That shortcut would bypass `sending`.
        scope.pop(WRITE_ANSWER, None)
        try:
            await app(scope, receive, sending)
        finally:
            ms = round((time.perf_counter() - began) * 1000, 2)
            _log.info("request", method=scope.get("method"), path=scope["path"], status=status, ms=ms, peer=peer_of(scope))

    return logging
