"""Mistakes in a configuration file, one per line: `limiter.yaml:7: policies.free.limits: is required`."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from limiter.errors import printable

_MAX_SHOWN = 100
_MAX_LENGTH = 400


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.message}"


class ConfigError(Exception):
    """The file cannot be used. `mistakes` lists everything that is wrong with it, sorted by line."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> list[str]:
        lines = [str(mistake) for mistake in self.mistakes[:_MAX_SHOWN]]
        more = len(self.mistakes) - len(lines)
        return [*lines, f"and {more:,} more"] if more else lines


def shortened(text: str, longest: int = _MAX_LENGTH) -> str:
    """The text on one line, with control characters escaped and the middle of a long text omitted."""
    half = longest // 2
    text = text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"
    return printable(text)


def shown(value: object) -> str:
    """A value as messages show it: quoted and short."""
    return shortened(repr(str(value)), 60)


def suggestion(name: str, names: Collection[str]) -> str:
    """What to write instead of an unknown name."""
    if near := get_close_matches(name[:60], [each for each in names if len(each) <= _MAX_LENGTH], 1):
        return f"did you mean {shortened(near[0])}?"
    return f"must be one of {shortened(', '.join(names))}" if names else "none is defined"
