"""The reverse proxy: an ASGI application that passes HTTP requests on to one upstream, streaming both ways.

Read in this order: this file (an exchange from request to response), `proxy_headers` (what is passed on),
`upstream_connection` (one connection), `upstream` (the pool), `proxy_failures` (what the client is told when there
is no response), `downstream` (the server's side, made strict).

Host is passed on as the client sent it, and as X-Forwarded-Host. Path and query are passed on byte for byte.
Protocol upgrades, WebSocket among them, are refused with 501. Redirects, compression and cookies are none of its
business.
"""

import asyncio
import logging
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from limiter.api.proxy.exchange import Exchange
from limiter.api.proxy.heads import NO_WEBSOCKET, Request, RequestTranslator
from limiter.api.proxy.proxy_errors import (
    ClientGone,
    ConnectionClosed,
    Headers,
    ProxyError,
    RequestRefused,
    send_error,
)
from limiter.api.proxy.upstream import Address, Upstream

logger = logging.getLogger("limiter.proxy")


class Proxy:
    """`trusts(ip)` says whether a peer's word on X-Forwarded-* and Forwarded is believed, and so extended.

    `deadline`: seconds of silence after which upstream (or a client in the middle of its upload) is given up on.
    `idle_timeout` is below the 5 s after which common servers close a quiet connection, so that it is rarely them.
    """

    def __init__(
        self,
        upstream: str,
        *,
        trusts: Callable[[str], bool],
        deadline: float = 60.0,
        connect_timeout: float = 5.0,
        keeps_host: bool = True,
        max_idle: int = 256,
        idle_timeout: float = 4.0,
    ) -> None:
        address = Address.parse(upstream)
        self._translator = RequestTranslator(address.base, address.authority, keeps_host, trusts)
        self._upstream = Upstream(
            address,
            deadline=deadline,
            connect_timeout=connect_timeout,
            max_idle=max_idle,
            idle_timeout=idle_timeout,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send, headers: Headers = ()) -> None:
        """Answer with upstream's response, `headers` in place of its own of these names; they are on errors too."""
        if scope["type"] == "websocket":
            await _refuse_websocket(scope, send, headers)
            return
        try:
            exchange = await self._answered(self._translator.translate(scope), receive)
        except ClientGone:
            return
        except ProxyError as failure:
            await send_error(send, failure, headers)
            return
        try:
            await exchange.relay(send, headers)
        except ClientGone:
            pass
        except ProxyError as failure:
            # Too late for a status: returning with the response unfinished makes the server break the connection off.
            logger.warning("response broken off: %s", failure.detail)
        finally:
            exchange.end()

    async def close(self) -> None:
        """Close the idle connections; call it when no request is in flight any more, before the loop ends."""
        self._upstream.close()
        await asyncio.sleep(0)  # the sockets themselves are closed in the loop's next turn

    async def _answered(self, request: Request, receive: Receive) -> Exchange:
        """An exchange whose response has begun.

        A kept connection may have been closed by upstream just as it was used again. Then, and only then, a request
        that is harmless to repeat goes out once more, on a connection of its own.
        """
        exchange = Exchange(self._upstream, await self._upstream.acquire(), request, receive)
        try:
            await exchange.begin()
        except ConnectionClosed:
            if not exchange.may_be_repeated:
                raise
            exchange = Exchange(self._upstream, await self._upstream.acquire(fresh=True), request, receive)
            await exchange.begin()
        return exchange


async def _refuse_websocket(scope: Scope, send: Send, headers: Headers) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    refusal = RequestRefused(NO_WEBSOCKET, status=501, error="http_upgrade_failed")

    async def send_websocket(message: Scope) -> None:
        await send({**message, "type": "websocket." + message["type"]})

    await send_error(send_websocket, refusal, headers)
