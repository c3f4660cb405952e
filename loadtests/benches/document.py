"""Puts what was measured into docs/benchmarks.md, between markers: a bench that was not run keeps what it had there."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def write(sections: dict[str, str]) -> None:
    text = DOCUMENT.read_text("utf-8")
    for name, content in sections.items():
        text = _replaced(text, name, content)
    DOCUMENT.write_text(text, "utf-8")


def _replaced(text: str, name: str, content: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not section.search(text):
        raise SystemExit(f"{DOCUMENT.name} has no markers {begin} and {end}: put them where the figures are to go")
    return section.sub(lambda _: f"{begin}\n\n{content}\n\n{end}", text)
