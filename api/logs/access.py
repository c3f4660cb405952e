"""The access log: one line for each request. It omits the query and the headers, because they may hold secrets."""

import time

import structlog
from starlette.types import Message, Receive, Scope, Send

from limiter.api.answers import WRITE_ANSWER
from limiter.api.forwarded import peer_of
from limiter.api.front import Front

_log = structlog.get_logger("limiter.access")


class AccessLog:
    """The front as an application that logs each request. The protocol holds and sheds its requests as those of the front alone."""

    def __init__(self, front: Front) -> None:
        self._front, self.overload = front, front.overload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        # That shortcut would bypass `sending`.
        scope.pop(WRITE_ANSWER, None)
        try:
            await self._front(scope, receive, sending)
        finally:
            ms = round((time.perf_counter() - began) * 1000, 2)
            _log.info("request", method=scope.get("method"), path=scope["path"], status=status, ms=ms, peer=peer_of(scope))
