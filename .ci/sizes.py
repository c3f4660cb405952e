"""How large the parts of the package are. Fails when a file, a function, a folder or the median function exceeds its bound.

Lines of a function are counted from `def` to its end; Lua functions from `function` to the matching `end` in the same column.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

MAX_FILE, MAX_FUNCTION, MAX_MEDIAN, MAX_FOLDER = 300, 40, 6, 13

_LUA_FUNCTION = re.compile(r"^( *)(?:local )?function (\w+).*?^\1end", re.MULTILINE | re.DOTALL)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    text = path.read_text("utf-8")
    if path.suffix == ".lua":
        yield from ((found[2], found[0].count("\n") + 1) for found in _LUA_FUNCTION.finditer(text))
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def main() -> int:
    listed = subprocess.run(["git", "ls-files", "limiter", "api", "lua"], stdout=subprocess.PIPE, text=True, check=True).stdout
    paths = [path for path in map(Path, listed.split()) if path.suffix in {".py", ".lua"}]
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in paths}
    sizes = {(path, name): size for path in paths for name, size in functions(path)}
    folders = Counter(path.parent for path in paths if path.name != "__init__.py")
    names = Counter(path.name for path in paths if path.name != "__init__.py")
    middle = median(sizes.values())
    print(f"{sum(lines.values()):,} lines in {len(paths)} files; the largest has {max(lines.values())}")
    print(f"{len(sizes):,} functions; the median has {middle:g} lines, the longest {max(sizes.values())}")
    problems = [f"{path} has {size} lines: at most {MAX_FILE}" for path, size in lines.items() if size > MAX_FILE]
    problems += [f"{path}: {name} has {size} lines: at most {MAX_FUNCTION}" for (path, name), size in sizes.items() if size > MAX_FUNCTION]
    problems += [f"{folder} has {count} modules: at most {MAX_FOLDER}" for folder, count in folders.items() if count > MAX_FOLDER]
    problems += [f"{count} modules are named {name}: give each a name of its own" for name, count in names.items() if count > 1]
    if middle > MAX_MEDIAN:
        problems.append(f"the median function has {middle:g} lines: at most {MAX_MEDIAN}")
    print(*problems, sep="\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
