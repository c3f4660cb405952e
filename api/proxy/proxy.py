"""The reverse proxy: an ASGI application that passes HTTP requests on to one upstream and streams in both directions.

Path and query reach upstream byte for byte. Host is the client's, which is also in X-Forwarded-Host. WebSocket is refused with 501.
Redirects, compressed bodies and cookies pass unchanged.
"""

import asyncio
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from limiter.api.answers import HELD
from limiter.api.proxy.exchange import Exchange
from limiter.api.proxy.proxy_errors import ClientGone, ConnectionClosed, Headers, ProxyError, RequestRefused, send_error
from limiter.api.proxy.request_head import NO_WEBSOCKET, Request, RequestTranslator
from limiter.api.proxy.upstream import Address, Upstream, UpstreamFailures
from limiter.api.rules import UpstreamTimeouts


class Proxy:
    """`trusts(ip)` says whether X-Forwarded-* and Forwarded from this peer are passed on and extended.

    `timeouts` returns those in force. The listener bounds how long a client may be silent. `idle_timeout` is below the 5 s after which
    common servers close an idle connection, so that the proxy usually closes it first.
    """

    def __init__(
        self,
        upstream: str,
        *,
        trusts: Callable[[str], bool],
        timeouts: Callable[[], UpstreamTimeouts] = UpstreamTimeouts,
        keeps_host: bool = True,
        idle_timeout: float = 4.0,
    ) -> None:
        address = Address.parse(upstream)
        self._translator = RequestTranslator(address.base, address.authority, keeps_host, trusts)
        self._failures = UpstreamFailures()
        self._upstream = Upstream(address, timeouts, idle_timeout=idle_timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, headers: Headers = (), caller: Headers = ()) -> None:
        """Sends upstream's response or an error. `headers` replace those of the same names. `caller` goes to upstream."""
        if scope["type"] == "websocket":
            await _refuse_websocket(send, headers)
            return
        try:
            exchange = await self._exchange(scope, self._translator.translate(scope, caller), receive)
        except ClientGone:
            return
        except ProxyError as error:
            if not isinstance(error, RequestRefused):
                self._failures.note(error)
            await send_error(send, error, headers)
            return
        try:
            await exchange.relay(send, headers)
        except ClientGone:
            pass
        except ProxyError as error:
            # The status is already sent. Returning before the response is complete makes the server close the connection.
            self._failures.note(error)
        finally:
            exchange.end()

    async def close(self) -> None:
        """Closes the idle connections. Call it before the event loop ends, when no request is in flight."""
        self._upstream.close()
        await asyncio.sleep(0)  # the event loop closes the sockets in its next turn

    async def _exchange(self, scope: Scope, request: Request, receive: Receive) -> Exchange:
        """Starts an exchange and waits for the head of its response.

        Upstream may close an idle connection at the moment it is used again. Only in this case is a request repeated, once and on a
        new connection, if it is idempotent.
        """
        exchange = Exchange(self._upstream, await self._upstream.acquire(), request, receive)
        scope[HELD] = exchange.held
        try:
            await exchange.begin()
        except ConnectionClosed:
            if not exchange.may_be_repeated:
                raise
            exchange = Exchange(self._upstream, await self._upstream.acquire(fresh=True), request, receive)
            scope[HELD] = exchange.held
            await exchange.begin()
        return exchange


async def _refuse_websocket(send: Send, headers: Headers) -> None:
    refusal = RequestRefused(NO_WEBSOCKET, status=501, error="http_upgrade_failed")

    async def send_websocket(message: Scope) -> None:
        await send({**message, "type": "websocket." + message["type"]})

    await send_error(send_websocket, refusal, headers)
