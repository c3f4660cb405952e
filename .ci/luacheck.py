"""luacheck over the script as Redis sees it, all parts in one chunk; what it finds is told by part and line."""

import re
import subprocess
import sys
from pathlib import Path

from limiter import lua

source, places = lua.SOURCE.decode(), {}
folder = Path(lua.__file__).parent
for part in (folder / f"{name}.lua" for name in lua.PARTS):
    text = part.read_text("utf-8")
    # What is written in capitals has been put in place, line by line.
    before = source[: source.index(text.partition("\n")[0])].count("\n")
    places |= {str(before + line): f"lua/{part.name}:{line}" for line in range(1, text.count("\n") + 1)}


def place(match: re.Match[str]) -> str:
    return places.get(match[2], f"lua/__init__.py, line {match[2]} of SOURCE")


check = subprocess.run(["luacheck", "--formatter", "plain", "-"], input=lua.SOURCE, stdout=subprocess.PIPE, check=False)
for finding in check.stdout.decode().splitlines():
    print(re.sub(r"(^stdin:|(?<=on )line )(\d+)", place, finding))
alone = [path for path in folder.glob("*.lua") if path.stem not in lua.PARTS]
sys.exit(check.returncode | subprocess.run(["luacheck", "--quiet", *alone], check=False).returncode if alone else check.returncode)
