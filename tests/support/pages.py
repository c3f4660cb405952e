"""The pages of the documentation: their code blocks, and a shell in which to run them."""

import os
import re
import subprocess
import sys
from pathlib import Path

from support.servers.redis_server import free_port

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]

# The commands of a page name no Redis, no ports and no folder: they use those of the test.
_LIMITER = """#!/bin/sh
if [ "$1" = serve ]; then set -- "$@" --port {port} --admin-port {admin} --data data; fi
exec {python} -P -m limiter.api.cli.main "$@"
"""


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, without the indentation of a list around them."""
    found = re.findall(rf"(?ms)^( *)```{language}\n(.*?)^ *```", text)
    return [re.sub(rf"(?m)^{indent}", "", code) for indent, code in found]


def links(text: str) -> list[str]:
    """The files that a page links to, without anchors."""
    outside_code = re.sub(r"(?ms)^ *```.*?^ *```|`[^`\n]*`", "", text)
    return [target for target in re.findall(r"\]\(([^)#\s]+)", outside_code) if "://" not in target]


def run(script: str, folder: Path, redis: str, port: int | None = None, **environment: str) -> str:
    """What a shell prints that runs the script with `limiter` on its PATH. Everything that it starts ends with it."""
    port, admin = port or free_port(), free_port()
    command = folder / "bin/limiter"
    command.parent.mkdir()
    command.write_text(_LIMITER.format(port=port, admin=admin, python=sys.executable))
    command.chmod(0o755)
    script = script.replace("localhost:8080", f"127.0.0.1:{port}").replace("localhost:8081", f"127.0.0.1:{admin}")
    # `serve` answers the last request before it ends.
    ended = f"trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n{script}"
    variables = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "LIMITER_REDIS_URL": redis, **environment}
    return subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", ended],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    ).stdout
