"""What is wrong with a file, each mistake on a line of its own: `limiter.yaml:7: policies.free.limits: missing: ...`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

_MOST = 100
_LONGEST = 400


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.message}"


class ConfigError(Exception):
    """The file cannot be used; `mistakes` says all that is wrong with it, in the order of its lines."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> list[str]:
        lines = [str(mistake) for mistake in self.mistakes[:_MOST]]
        more = len(self.mistakes) - len(lines)
        return [*lines, f"and {more:,} more"] if more else lines


def shortened(text: str, longest: int = _LONGEST) -> str:
    """On one line, and its middle left out where it is long."""
    half = longest // 2
    text = text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def shown(value: object) -> str:
    """A value as it may stand in a message: quoted, and short."""
    return shortened(repr(str(value)), 60)


def instead(name: str, names: Collection[str]) -> str:
    """What to write for a name that there is not."""
    if near := get_close_matches(name[:60], [each for each in names if len(each) <= _LONGEST], 1):
        return f"did you mean {shortened(near[0])}?"
    return f"use one of {shortened(', '.join(names))}" if names else "none is defined"
