"""Both clients behind one interface, so that each test of a promise is written once."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from limiter import AsyncLimiter, Limiter

CLIENTS = ("sync", "async")

_numbers = itertools.count()


def a_subject() -> str:
    """A subject that no other test and no other example of a property uses."""
    return f"subject-{next(_numbers)}"


class OnLoop:
    """An AsyncLimiter on its own event loop, with the interface of a Limiter."""

    def __init__(self, limiter: AsyncLimiter) -> None:
        self._limiter, self._runner = limiter, asyncio.Runner()

    def __getattr__(self, verb):
        def call(*args, **options):
            async def answer():
                return await getattr(self._limiter, verb)(*args, **options)

            return self._runner.run(answer())

        return call

    def limited(self, policy, subject, cost=1):
        def decorate(function):
            async def called(*args, **options):
                return function(*args, **options)

            taking = self._limiter.limited(policy, subject, cost)(called)
            return lambda *args, **options: self._runner.run(taking(*args, **options))

        return decorate

    def close(self) -> None:
        self._runner.run(self._limiter.close())
        self._runner.close()


@contextmanager
def limiter_of(client: str, source, **options) -> Iterator[Limiter | OnLoop]:
    """Yields a limiter of either client. The deadline is long by default, so that a busy machine does not fail tests."""
    options.setdefault("deadline", 10.0)
    limiter = Limiter(source, **options) if client == "sync" else OnLoop(AsyncLimiter(source, **options))
    try:
        yield limiter
    finally:
        limiter.close()
