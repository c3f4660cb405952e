"""What a client has sent and the parser has not read yet.

A client may send many requests before it reads an answer. httptools parses everything that it is given and cannot pause, so it is given
one head at a time. While a request waits for its answer, the bytes of the next one wait here, and the connection is not read.
"""

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from uvicorn.protocols.http.flow_control import FlowControl


class Part(Enum):
    """A part of a request, as it arrives."""

    REQUEST = auto()  # nothing of it yet
    HEAD = auto()
    BODY = auto()


# Looking up a member of an enumeration takes longer than a global name, and each request does it several times.
REQUEST, HEAD, BODY = Part

END_OF_HEAD = b"\r\n\r\n"
# A body may contain the end of a head at every fourth byte. Larger pieces of it keep the number of calls small.
_LEAST_OF_BODY = 1024
_MOST_AT_ONCE = 64 * 1024


class Inflow(FlowControl):
    """uvicorn's flow control. Reading resumes when `unread` is empty; until then, `read_on` parses that first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, read_on: Callable[[], None]) -> None:
        super().__init__(transport)
        self._loop, self._read_on = loop, read_on
        self.unread = b""
        # How much of it is parsed.
        self._at = 0
        self._is_stopped = False

    def keep(self, data: bytes) -> None:
        self.unread, self._at = self.unread[self._at :] + data if self.unread else data, 0

    def take(self, *, of_body: bool) -> bytes:
        """The next part of the unread bytes: it ends after the first head, or soon after it within a body."""
        end = self.unread.find(END_OF_HEAD, self._at + (_LEAST_OF_BODY if of_body else 0))
        end = min(len(self.unread) if end < 0 else end + len(END_OF_HEAD), self._at + _MOST_AT_ONCE)
        part, self._at = self.unread[self._at : end], end
        if end == len(self.unread):
            self.drop()
        return part

    def drop(self) -> None:
        self.unread, self._at = b"", 0

    def end(self) -> None:
        """The connection is lost: forgets what is unread, and the function that would parse it."""
        self.drop()
        self._read_on = nothing

    def pause_reading(self) -> None:
        self.read_paused = True
        if not self._is_stopped:
            self._is_stopped = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.read_paused:
            return
        self.read_paused = False
        if self.unread:
            self._loop.call_soon(self._read_on)
        else:
            self.receive()

    def receive(self) -> None:
        """Reads from the connection again, unless reading was paused in the meantime."""
        if self._is_stopped and not self.read_paused and not self._transport.is_closing():
            self._is_stopped = False
            self._transport.resume_reading()


def nothing(*_: object) -> None:
    pass
