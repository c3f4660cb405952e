"""The machine and the versions behind the figures, without anything that identifies the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PEERS = ("redis", "hiredis", "uvicorn", "limits", "throttled-py", "pyrate-limiter", "slowapi", "fastapi-limiter")


def facts() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PEERS)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    busy = f"{os.getloadavg()[0]:.1f} processes running on average before the run"
    return f"{_cores()} cores ({platform.machine()}; {busy}), {python}, Redis {_redis()}; {packages}; commit {_commit()}."


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _redis() -> str:
    # Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=...
    return _output("redis-server", "--version").partition("v=")[2].partition(" ")[0] or "of unknown version"


def _commit() -> str:
    commit = _output("git", "-C", str(_ROOT), "rev-parse", "--short", "HEAD")
    changed = _output("git", "-C", str(_ROOT), "status", "--porcelain", "--untracked-files=no", "--", "limiter", "lua", "api")
    return f"{commit or 'unknown'}{' with uncommitted changes' if changed else ''}"


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - fixed commands, above
    except (OSError, subprocess.CalledProcessError):
        return ""
