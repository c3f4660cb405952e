"""luacheck over the script as Redis sees it, all parts in one chunk; what it finds is told by part and line."""

import re
import subprocess
import sys
from importlib.resources import files

from limiter import lua

PLACES = [
    f"lua/{part}.lua:{number}"
    for part in lua.PARTS
    for number, _ in enumerate(files(lua).joinpath(f"{part}.lua").read_text("utf-8").split("\n"), 1)
]

check = subprocess.run(["luacheck", "--formatter", "plain", "-"], input=lua.SOURCE, stdout=subprocess.PIPE, check=False)
for finding in check.stdout.decode().splitlines():
    print(re.sub(r"(^stdin:|(?<=on )line )(\d+)", lambda line: PLACES[int(line[2]) - 1], finding))
sys.exit(check.returncode)
