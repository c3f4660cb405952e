"""Turns under asyncio: CALLERS callers, each with one decision in flight at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any

from benches.traffic import CALLERS


class Turns:
    """Runs turns on one event loop, which is idle between them."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def of(self, take: Callable[[str], Awaitable[object]], callers: int = CALLERS) -> Callable[[Sequence[str]], None]:
        return self.whole(lambda subjects: _all(take, subjects, callers))

    def whole(self, turn: Callable[[Sequence[str]], Coroutine[Any, Any, None]]) -> Callable[[Sequence[str]], None]:
        return lambda subjects: self._runner.run(turn(subjects))


async def _all(take: Callable[[str], Awaitable[object]], subjects: Sequence[str], callers: int) -> None:
    left = iter(subjects)
    await asyncio.gather(*(_caller(take, left) for _ in range(callers)))


async def _caller(take: Callable[[str], Awaitable[object]], left: Iterator[str]) -> None:
    for subject in left:
        await take(subject)
