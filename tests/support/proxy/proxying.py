"""A proxy under a real uvicorn."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from limiter.api.proxy.downstream import DownstreamProtocol
from limiter.api.proxy.proxy import Proxy
from support.proxy.raw_upstream import PATIENCE
from support.waiting import eventually

SETTINGS = {"http": DownstreamProtocol, "ws": "none", "proxy_headers": False, "server_header": False, "date_header": False}


class PromptServer(uvicorn.Server):
    """A uvicorn server that stops at once, and not at the next tenth of a second."""

    async def main_loop(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._stop.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    @property
    def port(self) -> int:
        return self.servers[0].sockets[0].getsockname()[1]


@contextmanager
def serving(app, **settings) -> Iterator[int]:
    """`app` under uvicorn in a thread; yields its port."""
    config = uvicorn.Config(app, port=0, loop="uvloop", log_level="critical", timeout_graceful_shutdown=5, **{**SETTINGS, **settings})
    server = PromptServer(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started, "uvicorn to start")
        yield server.port
    finally:
        server.stop()
        thread.join(PATIENCE)


@contextmanager
def proxying(url: str, *, headers=(), trusts=lambda _: False, server=None, **options) -> Iterator[int]:
    """A proxy to `url` that sets `headers`; yields its port."""
    proxy = Proxy(url, trusts=trusts, **options)

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await _close_at_the_end(proxy, receive, send)
        else:
            await proxy(scope, receive, send, headers)

    with serving(app, **(server or {})) as port:
        yield port


async def _close_at_the_end(proxy: Proxy, receive, send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await proxy.close()
    await send({"type": "lifespan.shutdown.complete"})


@contextmanager
def proxy_process(url: str) -> Iterator[tuple[int, int]]:
    """A proxy to `url` in a separate process; yields its port and its pid."""
    code = (
        "import json, sys, uvicorn; from support.proxy.proxying import SETTINGS; from limiter.api.proxy.proxy import Proxy;"
        "s = __import__('socket').create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True);"
        "c = uvicorn.Config(Proxy(sys.argv[1], trusts=lambda _: False), loop='uvloop', log_level='critical', **SETTINGS);"
        "uvicorn.Server(c).run(sockets=[s])"
    )
    path = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
    process = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True, env=path)
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
