"""The sample that is served without --config: the starting file with one key, in the data folder."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from limiter.api.command_errors import CannotStart
from limiter.api.config.loader import starting_file
from limiter.api.registry import KeyFormat

_KEY = """
# The digest of the sample key. The key itself is in the file `sample-key` in this folder.
keys:
  - {{ name: sample, digest: "sha256:{digest}", tier: free }}
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """`key` is the only raw key that is ever stored: it is for trials, and only this user can read it."""

    config: Path
    key: str = field(repr=False)


def sample(folder: Path) -> Sample:
    """The sample in this folder, created if it does not exist."""
    config, kept = folder / "limiter.yaml", folder / "sample-key"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not kept.exists():
            _write(kept, KeyFormat().generate("test"))
        key = kept.read_text("ascii").strip()
        if not config.exists():
            _write(config, starting_file() + _KEY.format(digest=hashlib.sha256(key.encode()).hexdigest()))
    except OSError as error:
        raise CannotStart(f"the data folder {folder} cannot be used: {error.strerror}: set another one with --data") from None
    return Sample(config, key)


def _write(path: Path, text: str) -> None:
    """Writes the file atomically, readable only to this user."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text, "utf-8")
    draft.replace(path)
