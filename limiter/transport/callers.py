"""Those who wait for answers: what they ask, until when, and where their answers go."""

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from limiter.errors import BackendError

# What a caller asks, and the answer.
Q = TypeVar("Q")
A = TypeVar("A")
A_contra = TypeVar("A_contra", contravariant=True)


class Recipient(Protocol[A_contra]):
    """Receives one answer, or the error instead: a Future, or an object that does without the loop iteration that a Future costs.

    Its batch is delivered in one go, so these methods must not raise. After either setter, `done` must return True.
    """

    def done(self) -> bool: ...
    def set_result(self, answer: A_contra, /) -> None: ...
    def set_exception(self, error: BackendError, /) -> None: ...


# What the caller asks, when (monotonic), how many seconds Redis has to answer, and the recipient. A plain tuple, because every decision
# creates one.
Waiter = tuple[Q, float, float, Recipient[A]]

# The answer when Redis gave none. Raises the error if there is no other answer.
Undecided = Callable[[Q, BackendError], A]


class Together(Generic[A]):
    """The recipient of what is submitted together. The answers arrive in order; the first error is that of all."""

    __slots__ = ("_found", "_left", "future")

    def __init__(self, count: int, future: asyncio.Future[list[A]]) -> None:
        self._found: list[A] = []
        self._left = count
        self.future = future

    def done(self) -> bool:
        return self.future.done()

    def set_result(self, answer: A) -> None:
        self._found.append(answer)
        self._left -= 1
        if not self._left:
            self.future.set_result(self._found)

    def set_exception(self, error: BackendError) -> None:
        self.future.set_exception(error)


def fail(undecided: Undecided[Q, A], waiter: Waiter[Q, A], error: BackendError) -> None:
    asked, _, _, recipient = waiter
    if recipient.done():
        return
    try:
        recipient.set_result(undecided(asked, error))
    except BackendError:
        # One error for each caller: a shared one would collect the tracebacks of all of them.
        recipient.set_exception(type(error)(*error.args))
