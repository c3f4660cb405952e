"""YAML syntax errors, explained to the person who wrote the file."""

import re

import yaml

# Everything but the characters that YAML calls printable. A byte order mark counts as unprintable inside the text.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]").search

_QUOTE_IT = "put the text in quotes"
# Part of the parser's message -> what to do about it.
_HINTS = {
    "mapping values are not allowed": f"a line has a second `: ` or is indented too far: {_QUOTE_IT} or fix the indentation",
    "cannot start any token": f"text cannot begin with this character: {_QUOTE_IT}",
    "alphabetic or numeric": f"text cannot begin with & or *: {_QUOTE_IT}",
    "unexpected end of stream": "a quotation mark is not closed",
    "',' or ']'": "a list that begins with [ is not closed: close it with ] and separate its items with commas",
    "',' or '}'": "a mapping that begins with { is not closed: close it with } and separate its fields with commas",
    "expected key": "this line does not match the lines above: indent the fields of a mapping equally and write each as `name: value`",
    "could not find expected ':'": "the field's name is not followed by `: `: write `name: value`",
    "node content": f"a value is missing or begins with a character that YAML reserves, as ::1 does: {_QUOTE_IT}",
    "'-' indicator": "every line of a list must begin with `- ` at the same indentation",
    "<block end>": "this line does not match the lines above: indent lines that belong together equally",
}


def unprintable(text: str) -> tuple[int, str] | None:
    """The line of the first character that YAML does not allow, and a message about it."""
    found = _UNPRINTABLE(text)
    if not found:
        return None
    line = text.count("\n", 0, found.start()) + 1
    return line, f"character U+{ord(found[0]):04X} is not printable: remove it or write it as an escape in double quotes"


def explained(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line of the error, and a message that says how to fix it."""
    problem = str(getattr(error, "problem", None) or error)
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if any(part in problem for part in ("end of stream", "',' or", "find expected ':'")):
        mark = context or mark
    line = mark.line + 1 if mark else 1
    return line, f"is not valid YAML: {_hint(problem, _line(text, line))}"


def _line(text: str, number: int) -> str:
    lines = text.split("\n")
    return lines[number - 1] if number <= len(lines) else ""


def _hint(problem: str, line: str) -> str:
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab indents this line: indent with spaces"
    return next((hint for part, hint in _HINTS.items() if part in problem), problem)
