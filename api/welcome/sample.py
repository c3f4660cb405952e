"""The sample that is served without --config: the starting file with one key, in the data folder."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from limiter.api.config.loader import starting_file
from limiter.api.data_folder import check_own, open_folder, read_file, write_file
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
    key_file: Path


def sample(folder: Path) -> Sample:
    """The sample in this folder, created if it does not exist."""
    open_folder(folder)
    config, kept = folder / "limiter.yaml", folder / "sample-key"
    key = (read_file(kept) or "").strip()
    if not key:
        key = KeyFormat().generate("test")
        write_file(kept, f"{key}\n")
    if not check_own(config):
        write_file(config, starting_file() + _KEY.format(digest=hashlib.sha256(key.encode()).hexdigest()))
    return Sample(config, key, kept)
