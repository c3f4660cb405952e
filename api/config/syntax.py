"""What is wrong with a text that is no YAML, in words for who wrote it."""

from __future__ import annotations

import re

import yaml

# What YAML calls printable, and a BOM in the midst is not.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]").search

_QUOTE_IT = "put the text in quotes"
_HINTS = {
    "mapping values are not allowed": f"a second `: ` on one line, or a line indented too far: {_QUOTE_IT}, or mend the indentation",
    "cannot start any token": f"a text cannot begin with this character: {_QUOTE_IT}",
    "alphabetic or numeric": f"a text cannot begin with & or *: {_QUOTE_IT}",
    "unexpected end of stream": "a quote is opened here and never closed: close it",
    "',' or ']'": "a list is opened with [ and not closed with ]: close it, with commas between",
    "',' or '}'": "a mapping is opened with { and not closed with }: close it, with commas between",
    "expected key": "this line does not fit the ones above: indent fields of one mapping alike, and give each a `name: value`",
    "could not find expected ':'": "no `: ` after the field's name: write `name: value`",
    "node content": f"a value is missing here, or begins with a mark of YAML's own, as ::1 does: {_QUOTE_IT}",
    "'-' indicator": "a list's lines all begin with `- `, indented alike: mend this one, or its indentation",
    "<block end>": "this line does not fit the ones above: indent alike what belongs together",
}


def unprintable(text: str) -> tuple[int, str] | None:
    """Where a character stands that YAML has no room for, and which."""
    found = _UNPRINTABLE(text)
    if not found:
        return None
    line = text.count("\n", 0, found.start()) + 1
    return line, f"character U+{ord(found[0]):04X} is not printable: take it out, or write it as an escape in double quotes"


def explained(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line, and what to do about it."""
    problem = str(getattr(error, "problem", None) or error)
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if any(part in problem for part in ("end of stream", "',' or", "find expected ':'")):
        mark = context or mark
    line = mark.line + 1 if mark else 1
    return line, f"is no YAML: {_hint(problem, _line(text, line))}"


def _line(text: str, number: int) -> str:
    lines = text.split("\n")
    return lines[number - 1] if number <= len(lines) else ""


def _hint(problem: str, line: str) -> str:
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab indents this line: indent with blanks"
    return next((hint for part, hint in _HINTS.items() if part in problem), problem)
