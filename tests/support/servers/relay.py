"""A TCP relay before Redis, or before a sidecar, that can lose, delay, corrupt or cut off replies, or refuse connections."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from support.waiting import eventually


def whole(reply: bytes) -> bytes:
    return reply


def lost(_reply: bytes) -> bytes:
    return b""


def garbage(_reply: bytes) -> bytes:
    return b"HTTP/1.1 400 Bad Request\r\n\r\n"


def cut(_reply: bytes) -> None:
    """Closes the connection instead."""


class Relay:
    """Runs two threads per connection. `answer` transforms the replies; `sent` is everything that was sent to Redis."""

    def __init__(self, port: int) -> None:
        self.answer: Callable[[bytes], bytes | None] = whole
        self.sent = bytearray()
        self.connections = 0
        self._upstream = port
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.port = 0
        self._listen()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @contextmanager
    def answering(self, answer: Callable[[bytes], bytes | None]) -> Iterator[None]:
        self.answer = answer
        try:
            yield
        finally:
            self.answer = whole

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Closes all connections and refuses new ones until the end of the block, like a process that has ended."""
        self.close()
        try:
            yield
        finally:
            self._listen()

    def hold(self) -> threading.Event:
        """Delays replies from now on until the event is set."""
        released = threading.Event()

        def held(reply: bytes) -> bytes:
            released.wait(30)
            return reply

        self.answer = held
        return released

    def spoil_decisions(self, answer: Callable[[bytes], bytes | None]) -> None:
        """Leaves the setup of connections alone and transforms the replies from the next call of the script on."""
        begun = len(self.sent)
        self.answer = lambda reply: answer(reply) if b"EVAL" in self.sent[begun:] else reply

    def close(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)
        self._open, self._threads = [], []

    def _listen(self) -> None:
        listener = eventually(self._bound, "the port of the relay is free")
        self.port = listener.getsockname()[1]
        self._open.append(listener)
        self._threads.append(threading.Thread(target=self._accept, args=(listener,)))
        self._threads[-1].start()

    def _bound(self) -> socket.socket | None:
        """None while a connection of another process has the port."""
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", self.port))
        return None

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
                self.connections += 1
                self._open += client, server
                for pump in (self._commands, self._replies):
                    self._threads.append(threading.Thread(target=pump, args=(client, server)))
                    self._threads[-1].start()

    def _commands(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                self.sent += data
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _replies(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                answer = self.answer(data)
                if answer is None:
                    break
                client.sendall(answer)
        for each in (client, server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay_to(port: int) -> Iterator[Relay]:
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.answer = whole
        relay.close()
