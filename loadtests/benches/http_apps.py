"""The applications to compare with, each served by `python -m benches.http_apps NAME PORT REDIS UPSTREAM` on one uvicorn worker.

All of them identify a caller by the Authorization header and send the same short response.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

BODY = b'{"ok":true}'
OURS = ("fastapi-ours", "fastapi-ours-by-address", "fastapi-ours-route")
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]


async def bare(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


def fastapi_alone() -> ASGIApp:
    from fastapi import FastAPI, Response  # noqa: PLC0415 - loads only the requested application

    app = FastAPI()

    @app.get("/items")
    async def items() -> Response:
        return Response(BODY, media_type="application/json")

    return app


def fastapi_ours(redis_url: str, name: str) -> ASGIApp:
    """Our limits: of all routes by the caller or by the address, or of the route."""
    from benches.traffic import PATIENT, POLICY  # noqa: PLC0415
    from limiter import AsyncLimiter  # noqa: PLC0415
    from limiter.web.fastapi import RateLimit, limit_app, rate_limit  # noqa: PLC0415

    app: Any = fastapi_alone()
    limiter = AsyncLimiter(redis_url, prefix=name, deadline=PATIENT)
    if name == "fastapi-ours-route":
        limit_app(app, limiter)
        app.get("/limited", dependencies=[rate_limit(POLICY, subject=_caller)])(app.router.routes[-1].endpoint)
    else:
        limit_app(app, limiter, POLICY if name == "fastapi-ours-by-address" else RateLimit(POLICY, subject=_caller))
    return app  # type: ignore[no-any-return]


def slowapi(redis_url: str) -> ASGIApp:
    from fastapi import FastAPI, Request, Response  # noqa: PLC0415
    from slowapi import Limiter  # noqa: PLC0415

    from benches.traffic import HOUR, MINUTE, SECOND  # noqa: PLC0415

    limiter = Limiter(_caller, storage_uri=redis_url, strategy="moving-window", headers_enabled=True, key_prefix="slowapi")
    app = FastAPI()
    app.state.limiter = limiter

    # Annotations are looked up among the globals, which do not have these names.
    async def items(request: Any) -> Any:  # noqa: ARG001 - slowapi requires the name
        return Response(BODY, media_type="application/json")

    items.__annotations__ = {"request": Request, "return": Response}
    app.get("/items")(limiter.limit(f"{MINUTE}/minute;{HOUR}/hour;{SECOND}/second")(items))
    return app


def fastapi_limiter(redis_url: str) -> ASGIApp:
    import pyrate_limiter  # noqa: PLC0415
    import redis.asyncio  # noqa: PLC0415
    from fastapi import Depends, FastAPI, Response  # noqa: PLC0415
    from fastapi_limiter.depends import RateLimiter  # noqa: PLC0415
    from pyrate_limiter.buckets.redis_bucket import LuaScript  # noqa: PLC0415

    from benches.peers import Buckets  # noqa: PLC0415

    script = redis.Redis.from_url(redis_url).script_load(LuaScript.PUT_ITEM)
    buckets = Buckets(redis.asyncio.Redis.from_url(redis_url), script)

    async def caller(request: Any) -> str:
        return _caller(request)

    app = FastAPI()

    @app.get("/items", dependencies=[Depends(RateLimiter(pyrate_limiter.Limiter(buckets), identifier=caller))])
    async def items() -> Response:
        return Response(BODY, media_type="application/json")

    return app


def proxy(upstream: str) -> ASGIApp:
    from limiter.api.proxy.proxy import Proxy  # noqa: PLC0415

    return Proxy(upstream, trusts=lambda _: False)


def _caller(request: Any) -> str:
    caller: str = request.headers["authorization"]
    return caller


class Upstream(asyncio.Protocol):
    """A minimal server, so that it is not the bottleneck. Every response is the same."""

    ANSWER = b"HTTP/1.1 200 OK\r\n%s\r\n%s" % (b"".join(b"%s: %s\r\n" % header for header in HEADERS), BODY)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._end = transport, b""

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(self.ANSWER)  # type: ignore[attr-defined]


def main(name: str, port: str, redis_url: str, upstream: str) -> None:
    if name == "upstream":
        import uvloop  # noqa: PLC0415

        uvloop.run(_serve_upstream(int(port)))
        return
    makers: dict[str, Any] = {
        "bare": lambda: bare,
        "fastapi": fastapi_alone,
        **dict.fromkeys(OURS, lambda: fastapi_ours(redis_url, name)),
        "slowapi": lambda: slowapi(redis_url),
        "fastapi-limiter": lambda: fastapi_limiter(redis_url),
        "proxy": lambda: proxy(upstream),
    }
    http: Any = "httptools"
    if name == "proxy":
        # The protocol that the sidecar uses with this proxy.
        from limiter.api.proxy.downstream import DownstreamProtocol  # noqa: PLC0415

        http = DownstreamProtocol
    uvicorn.run(makers[name](), port=int(port), loop="uvloop", http=http, ws="none", lifespan="off", log_level="warning", access_log=False)


async def _serve_upstream(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
