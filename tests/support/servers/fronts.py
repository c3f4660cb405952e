"""Fronts in a thread of the tests: the application and the protocol of the sidecar, without the second that a process needs to start."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from typing import NamedTuple

from limiter import AsyncLimiter
from limiter.api.config.loader import loads
from limiter.api.front import Front
from limiter.api.proxy.proxy import Proxy
from limiter.api.rules import Rules
from limiter.api.server.client_connections import Connections
from limiter.api.server.listening import Listening, bind, config_for
from limiter.api.server.protocol import FrontProtocol


class Watched(NamedTuple):
    rules: Rules


@contextmanager
def fronts(redis: str, **configured: tuple[str, str | None]) -> Iterator[list[int]]:
    """A front for each text of a configuration, as a proxy if it comes with the URL of an upstream. Yields their ports."""
    started: Future[tuple[list[int], asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(redis, list(configured.values()), started)))
    thread.start()
    try:
        ports, loop, stop = started.result(20)
        try:
            yield ports
        finally:
            loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join()


async def _serve(redis: str, configured: list[tuple[str, str | None]], started: Future) -> None:
    try:
        async with AsyncExitStack() as stack:
            ports = [await _listen(stack, redis, *each) for each in configured]
            stop = asyncio.Event()
            started.set_result((ports, asyncio.get_running_loop(), stop))
            await stop.wait()
    except Exception as error:
        if started.done():
            raise
        started.set_exception(error)


async def _listen(stack: AsyncExitStack, redis: str, text: str, upstream: str | None) -> int:
    rules = loads(text)
    limiter = await stack.enter_async_context(AsyncLimiter(redis, prefix=rules.prefix, deadline=rules.deadline))
    proxy = None
    if upstream is not None:
        proxy = Proxy(upstream, trusts=rules.trusts, timeouts=lambda: rules.upstream)
        stack.push_async_callback(proxy.close)
    listener = bind("127.0.0.1", 0, "--port")
    connections = Connections(lambda: rules.connections, room=512, is_exempt=lambda _: True)
    listening = Listening(config_for(Front(Watched(rules), limiter, proxy=proxy), http=FrontProtocol), listener, connections)
    await listening.start()
    stack.push_async_callback(listening.stop, 1)
    return listener.getsockname()[1]
