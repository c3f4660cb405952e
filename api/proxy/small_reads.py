"""Reading a connection in parts of at most 32 KB, into one buffer that all connections share.

uvloop reads up to 256 KB at once. A part that the other side does not take yet is held, so its size bounds what a connection holds.
Connections can share the buffer, because the event loop hands over each part before it reads the next one.
"""

import asyncio
from collections.abc import Callable

READ = 32 * 1024

# The limits of a transport's write buffer with which writing pauses until everything has left for the kernel. The kernel's own buffer keeps
# the connection busy meanwhile. A high limit of 0 would pause TLS connections that have nothing to send.
NOTHING_UNSENT = {"high": 1, "low": 0}

BUFFER = memoryview(bytearray(READ))


class SmallReads(asyncio.BufferedProtocol):
    """Passes everything on to a protocol that is not buffered."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - always the same one
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self._protocol.data_received(bytes(BUFFER[:nbytes]))

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


def undecrypted(transport: asyncio.Transport) -> Callable[[], int]:
    """A function that returns how many bytes of TLS have arrived and are not decrypted, because reading is paused."""
    return getattr(transport, "get_read_buffer_size", int)
