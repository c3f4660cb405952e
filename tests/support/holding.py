"""Attacks on a sidecar from many raw connections, and what they cost it."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self, cast

import psutil

from support.servers.sidecar import Sidecar

MOST_GROWTH = 64 * 1024 * 1024
_SAMPLE_S = 0.02
# So much is sent on one connection before the next, and so long nothing can be sent when the sidecar reads no more.
_PART, _SILENCE_S = 65536, 1.0


class Memory:
    """How much the memory of a process grows within the `with` block, at most."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._before = self._peak = self._now()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        return self._peak - self._before

    @property
    def growth_now(self) -> int:
        return self._now() - self._before

    def _now(self) -> int:
        return self._process.memory_info().rss

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self._peak = max(self._peak, self._now())


def connected(port: int, *, has_small_buffers: bool = False) -> socket.socket:
    """With small buffers, the kernels at both ends store little of what one sends and the other does not read."""
    connection = socket.socket()
    if has_small_buffers:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # The sender's buffer grows with the size of a segment, which is 64 KiB on loopback.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    return connection


@contextlib.contextmanager
def connections(port: int, count: int, first: bytes = b"", *, have_small_buffers: bool = False) -> Iterator[list[socket.socket]]:
    """Each sends `first`. Those that the sidecar refuses count, too."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(connected(port, has_small_buffers=have_small_buffers)) for _ in range(count)]
        for each in opened:
            with contextlib.suppress(OSError):
                each.sendall(first)
        yield opened


def pour(opened: list[socket.socket], data: bytes) -> None:
    """Sends on all of them at once, as much of `data` as the sidecar reads. An attacker does not mind that its connection is closed."""
    left = dict.fromkeys(opened, memoryview(data))
    with selectors.DefaultSelector() as selector:
        for each in opened:
            each.setblocking(False)
            selector.register(each, selectors.EVENT_WRITE)
        while left and (ready := selector.select(_SILENCE_S)):
            for key, _ in ready:
                connection = cast("socket.socket", key.fileobj)
                try:
                    left[connection] = left[connection][connection.send(left[connection][:_PART]) :]
                except OSError:
                    left[connection] = left[connection][:0]
                if not left[connection]:
                    selector.unregister(connection)
                    del left[connection]


def at_once(action: Callable[[int], object], count: int) -> None:
    """Runs `action` with each number, in threads. An attacker does not mind that its connection is closed."""

    def run(number: int) -> None:
        with contextlib.suppress(OSError):
            action(number)

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def is_open_after(connection: socket.socket, data: bytes) -> bool:
    """Sends a little more. Returns False if the sidecar has closed the connection or answers 408."""
    connection.settimeout(0.001)
    try:
        connection.sendall(data)
        return connection.recv(4096)[:12] not in (b"", b"HTTP/1.1 408")
    except TimeoutError:
        return True
    except OSError:
        return False


def descriptors(sidecar: Sidecar) -> int:
    return psutil.Process(sidecar.process.pid).num_fds()
