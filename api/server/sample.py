"""What is served when no configuration is named: the starting file, with one key in it, kept in the data folder to be edited."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from limiter.api.command_errors import CannotStart
from limiter.api.config.loader import starting_file
from limiter.api.registry.form import Form


@dataclass(frozen=True, slots=True)
class Sample:
    """`key` is the one raw key that is ever written down: made for trying things out, readable to this user alone."""

    config: Path
    key: str = field(repr=False)


def sample(folder: Path) -> Sample:
    """That of this folder; made if it has none."""
    config, kept = folder / "limiter.yaml", folder / "sample-key"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not kept.exists():
            _write(kept, Form().generate("test"))
        key = kept.read_text("ascii").strip()
        if not config.exists():
            _write(config, _with_key(starting_file(), key))
    except OSError as error:
        raise CannotStart(f"the data folder {folder} cannot be used: {error.strerror}; name another with --data") from None
    return Sample(config, key)


_KEY = """
# The sample key, by its digest; the key itself is in the file `sample-key` beside this one.
keys:
  - {{ name: sample, digest: "sha256:{digest}", tier: free }}
"""


def _with_key(text: str, key: str) -> str:
    return text + _KEY.format(digest=hashlib.sha256(key.encode()).hexdigest())


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and for this user only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text, "utf-8")
    draft.replace(path)
