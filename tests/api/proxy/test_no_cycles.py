"""Requests and connections leave nothing behind that only the garbage collector frees: it runs rarely."""

import asyncio
import gc

import pytest
import uvloop
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from limiter.api.proxy.downstream import DownstreamProtocol
from limiter.api.proxy.proxy import Proxy
from limiter.api.proxy.upstream_connection import Connection
from limiter.api.server.listening import Listening, bind, config_for
from limiter.api.server.protocol import FrontProtocol
from support.proxy.raw_upstream import OK, answering

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"
OLD_GET = b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"
KINDS = (RequestResponseCycle, DownstreamProtocol, Connection)
TIMES = 20


def alive() -> int:
    # `isinstance` would ask lazy objects of other programs for their class.
    return sum(issubclass(type(each), KINDS) for each in gc.get_objects())


@pytest.mark.parametrize("request_", [GET, POST, OLD_GET], ids=["get", "post", "http-1.0"])
@pytest.mark.parametrize("protocol", [DownstreamProtocol, FrontProtocol])
def test_a_proxied_request_and_its_connection_are_freed_without_the_collector(request_, protocol):
    async def scenario(url):
        proxy = Proxy(url, trusts=lambda _: False)
        listener = bind("127.0.0.1", 0, "--port")
        server = Listening(config_for(proxy, http=protocol), listener)
        await server.start()
        try:
            gc.collect()
            gc.disable()
            before = alive()
            for _ in range(TIMES):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                writer.write(request_)
                async with asyncio.timeout(20):
                    await reader.readuntil(b"ok")
                writer.close()
            async with asyncio.timeout(20):
                while server.server_state.connections:  # noqa: ASYNC110 - uvicorn has no event for it
                    await asyncio.sleep(0.01)
            return alive() - before
        finally:
            gc.enable()
            await server.stop(1)
            await proxy.close()

    with answering(OK) as upstream, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # The connection to upstream is kept for the next request.
        assert runner.run(scenario(upstream.url)) < TIMES / 4
