"""Builds the documentation site into build/docs: `make docs`.

Zensical reports broken links between pages, missing anchors and unresolved references. It does not look at links to other files, at
images or at the navigation, so this script checks those in the finished pages, and that no page loads anything from another host.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
PAGES, SITE = ROOT / "build/pages", ROOT / "build/docs"
# The same tree as in the repository, so that the pages' links mean the same in both.
SOURCES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs", "examples", "deploy", "limiter/__init__.py", "LICENSE")
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """The ids of a page, its links, and the addresses of what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values["id"]} if "id" in values else set()
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in LOADED and LOADED[tag] in values and values.get("rel") != "canonical":
            self.loaded.append(values[LOADED[tag]])


def copy_pages() -> None:
    shutil.rmtree(PAGES, ignore_errors=True)
    for source in SOURCES:
        target = PAGES / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("build.py", "__pycache__"))
        else:
            shutil.copyfile(ROOT / source, target)


def problems(site: Path) -> Iterator[str]:
    pages = {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    for path, page in pages.items():
        # The page for a missing address is served from anywhere, so its links begin at the root of the server.
        if path.name == "404.html":
            continue
        for link in (*page.links, *page.loaded):
            yield from (f"{path.relative_to(site)}: {problem}: {link}" for problem in _problems_of(link, path, pages))
        yield from (f"{path.relative_to(site)}: loads from another host: {link}" for link in page.loaded if urlsplit(link).netloc)
    for path in site.rglob("*.css"):
        if "url(http" in path.read_text("utf-8"):
            yield f"{path.relative_to(site)}: loads from another host"


def _problems_of(link: str, path: Path, pages: dict[Path, Page]) -> Iterator[str]:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.exists():
        yield "leads nowhere"
    elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids | {"__top"}:
        yield "has no such anchor"


def main() -> int:
    copy_pages()
    built = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=ROOT, check=False)
    if built.returncode:
        return built.returncode
    found = sorted(problems(SITE))
    print(*found, sep="\n", end="\n" if found else "")
    return len(found) > 0


if __name__ == "__main__":
    sys.exit(main())
