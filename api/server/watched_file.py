"""A file that is checked again and again, and read only if it may have changed."""

import time
from collections.abc import Callable
from pathlib import Path

# A file system may give two changes within this time the same timestamps.
_RESOLUTION_S = 2.0

Stamp = tuple[int, int, int, int, int]


class WatchedFile:
    """`read` raises its own errors. Symbolic links, such as Kubernetes mounts, are followed each time."""

    def __init__(self, path: Path, read: Callable[[Path], bytes]) -> None:
        self._path, self._read = path, read
        self._stamp: Stamp | None = None
        self._content = b""

    def content(self) -> bytes:
        # Before the file is read: a change in between shows the next time.
        stamp = _stamp_of(self._path)
        if stamp is None or stamp != self._stamp:
            self._content, self._stamp = self._read(self._path), stamp
        return self._content


def _stamp_of(path: Path) -> Stamp | None:
    """A value that changes with the file. None if the file is missing, or if it changed so recently that another change might not show."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    # The time of the last status change shows changes that set the modification time back, as `cp -p` does.
    if time.time() - max(found.st_mtime, found.st_ctime) < _RESOLUTION_S:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
