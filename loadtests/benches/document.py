"""Writes the figures into the documents, between markers. A bench that did not run keeps its old figures."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (_ROOT / "README.md", _ROOT / "docs" / "benchmarks.md", _ROOT / "docs" / "gateways.md")


def write(sections: dict[str, str]) -> None:
    for name, content in sections.items():
        _write(name, content)


def _write(name: str, content: str) -> None:
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    for document in DOCUMENTS:
        text, found = section.subn(lambda _: f"{begin}\n\n{content}\n\n{end}", document.read_text("utf-8"))
        if found:
            document.write_text(text, "utf-8")
            return
    names = ", ".join(document.name for document in DOCUMENTS)
    raise SystemExit(f"one of {names} must contain {begin} and {end}, where the figures go")
