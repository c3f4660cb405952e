"""Both clients, called in one way: so that each test of what a limiter promises is written once."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from limiter import AsyncLimiter, Limiter

CLIENTS = ("sync", "async")

_numbers = itertools.count()


def a_subject() -> str:
    """One that no other test, and no other example of a property, has."""
    return f"subject-{next(_numbers)}"


class OnLoop:
    """An AsyncLimiter on an event loop of its own, called as a Limiter is."""

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
    """A limiter of either client. Deadlines are generous unless they are the subject: a busy machine is no failure."""
    options.setdefault("deadline", 10.0)
    limiter = Limiter(source, **options) if client == "sync" else OnLoop(AsyncLimiter(source, **options))
    try:
        yield limiter
    finally:
        limiter.close()
