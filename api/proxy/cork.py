"""Joins all writes of one turn of the event loop into one system call.

uvloop makes a system call for every write, and a head and its body are two writes. For a small response the second call costs as much
as parsing the request. A large part is written at once, because only then it is known whether the other side takes it.
"""

import asyncio

_LARGE = 16 * 1024


class Cork:
    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._held: list[bytes] = []
        # Bytes that the transport has been given so far.
        self.written = 0
        self.is_closing = transport.is_closing

    @property
    def holds(self) -> bool:
        """Whether bytes wait for the end of this turn."""
        return bool(self._held)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        if len(data) >= _LARGE:
            self.flush()

    def write_now(self, data: bytes) -> None:
        """Writes a complete message at once, after everything that is held."""
        self.flush()
        if not self._transport.is_closing():
            self.written += len(data)
            self._transport.write(data)

    def flush(self) -> None:
        if self._held and not self._transport.is_closing():
            joined = b"".join(self._held)
            self.written += len(joined)
            self._transport.write(joined)
        self._held.clear()

    def close(self) -> None:
        """Closes after everything is written."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        self._held.clear()
        self._transport.abort()
