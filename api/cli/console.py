"""What the commands print and read, and their exit codes."""

import json
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

import typer

from limiter.api.registry.views import View

FAILED, MISUSED, UNKNOWN, CONFLICT = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Printed:
    """The result of a command: `view` as JSON, or as text under `heads`: `rows`, or without them `view`. `note` goes to stderr."""

    view: Any
    heads: tuple[str, ...]
    rows: tuple[View, ...] | None = None
    note: str = ""


def page(view: View, name: str, heads: tuple[str, ...], *, empty: str, cursor: str) -> Printed:
    """A page of a list. `empty` says why there may be nothing, and what to do next."""
    if view["cursor"]:
        note = f"There are more: --cursor {view['cursor']}"
    elif view[name]:
        note = ""
    else:
        note = "There are no more." if cursor else empty
    return Printed(view, heads, tuple(view[name]), note)


def show(printed: Printed, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(printed.view, ensure_ascii=False))
        return
    if printed.rows is None:
        for head in printed.heads:
            typer.echo(f"{head:<12} {_cell(printed.view.get(head))}")
    elif printed.rows:
        _show_table(printed.heads, printed.rows)
    if printed.note:
        typer.echo(printed.note, err=True)


def fail(message: str, code: int) -> NoReturn:
    typer.echo(f"limiter: {message}", err=True)
    sys.exit(code)


def raw_key() -> str:
    """A key from standard input. As an argument it would appear in the shell's history and in the list of processes."""
    if sys.stdin.isatty():
        typer.echo("Enter the key:", err=True)
    key = sys.stdin.readline().rstrip("\r\n")
    return key or fail("the key must be the first line of standard input, which is empty", MISUSED)


def _show_table(heads: tuple[str, ...], rows: tuple[View, ...]) -> None:
    cells = [heads, *([_cell(row.get(head)) for head in heads] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value) or "-"
    return "-" if value in (None, "") else str(value)
