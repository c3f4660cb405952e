"""The results of a bench: tables and targets, rendered as Markdown for both the terminal and the documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """`wanted` is the least ratio, or the greatest with `at_most`."""

    what: str
    measured: float
    wanted: float
    at_most: bool = False

    @property
    def reached(self) -> bool:
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted

    @property
    def cells(self) -> list[str]:
        sign = "at most" if self.at_most else "at least"
        return [self.what, f"{self.measured:.2f}", f"{sign} {self.wanted:g}", "reached" if self.reached else "missed"]


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __str__(self) -> str:
        return "\n\n".join(filter(None, (f"### {self.title}", self.note, self.grid)))

    @property
    def grid(self) -> str:
        """Columns are numeric, except the first, if all cells begin with a digit or a minus sign."""
        numeric = [index > 0 and all(row[index][:1] in "0123456789-" for row in self.rows) for index in range(len(self.columns))]
        lines = [self.columns, *self.rows]
        widths = [max(3, *(len(line[index]) for line in lines)) for index in range(len(self.columns))]
        rule = [("-" * (width - 1) + ":") if right else "-" * width for width, right in zip(widths, numeric, strict=True)]
        return "\n".join(_line(line, widths, numeric) for line in (self.columns, rule, *self.rows))


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    placed = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(cells, widths, numeric, strict=True)]
    return f"| {' | '.join(placed)} |"


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one bench."""

    title: str
    tables: Sequence[Table]
    targets: Sequence[Target] = ()
    note: str = ""
    # A short form for the README.
    summary: Sequence[Table] = ()

    def __str__(self) -> str:
        return f"## {self.title}\n\n{self.body}"

    @property
    def body(self) -> str:
        targets = str(targets_table(self.targets)) if self.targets else ""
        return "\n\n".join(filter(None, (self.note, *map(str, self.tables), targets)))


def targets_table(targets: Sequence[Target]) -> Table:
    return Table("Targets", ["target", "measured", "wanted", ""], [target.cells for target in targets])
