"""The data folder: what the sidecar keeps on this machine. Only its user may read or change it.

It holds the data of the embedded Redis, the sample configuration with its key, and the admin token. A file that somebody else may have put
there is never read or written: a symbolic link would lead to a file of their choice, and a configuration of theirs would be served.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import structlog

from limiter.api.command_errors import CannotStart, Misused

_log = structlog.get_logger("limiter.data")

_FOLDER, _FILE = 0o700, 0o600
_OTHERS, _OTHERS_WRITE = 0o077, 0o022
_KINDS: dict[Callable[[int], bool], str] = {
    stat.S_ISREG: "a regular file",
    stat.S_ISDIR: "a folder",
    stat.S_ISSOCK: "a socket",
    stat.S_ISLNK: "a symbolic link",
}


def data_folder(given: Path | None = None) -> Path:
    """The given folder, or else $XDG_DATA_HOME/limiter or ~/.local/share/limiter. Does not create it."""
    if given is not None:
        return given
    home = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(home) if home else Path.home() / ".local" / "share") / "limiter"
    except RuntimeError:
        raise Misused("the data folder is unknown, because this user has no home folder: name one with --data or XDG_DATA_HOME") from None


def open_folder(folder: Path) -> Path:
    """Creates the folder, and makes one that exists private."""
    try:
        folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid():
            remedy = f"set another one with --data, such as {folder / 'limiter'}"
            raise CannotStart(f"the data folder {folder} must belong to this user ({os.geteuid()}), not to user {found.st_uid}: {remedy}")
        if stat.S_IMODE(found.st_mode) != _FOLDER:
            folder.chmod(_FOLDER)
        _log_repair(folder, found.st_mode)
    except OSError as error:
        raise unusable(folder, error) from None
    return folder


def open_file(path: Path, flags: int) -> int:
    """A file descriptor of a file in the data folder, which is created if it does not exist."""
    try:
        # O_NONBLOCK: opening a named pipe must not wait for its other end.
        file = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, _FILE)
    except OSError as error:
        check_own(path)
        raise unusable(path.parent, error) from None
    try:
        found = os.fstat(file)
        _check(path, found, stat.S_ISREG)
        if stat.S_IMODE(found.st_mode) != _FILE:
            os.fchmod(file, _FILE)
    except CannotStart:
        os.close(file)
        raise
    except OSError as error:
        os.close(file)
        raise unusable(path.parent, error) from None
    return file


def read_file(path: Path) -> str | None:
    """The text of a file in the data folder; None if it does not exist."""
    if not check_own(path):
        return None
    with os.fdopen(open_file(path, os.O_RDONLY), encoding="utf-8") as file:
        return file.read()


def write_file(path: Path, text: str) -> None:
    """Writes a file in the data folder. It appears as a whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(open_file(draft, os.O_WRONLY | os.O_EXCL), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        raise unusable(path.parent, error) from None


def check_own(path: Path, *, folder: bool = False, socket: bool = False) -> bool:
    """Whether there is such a file, folder or socket of this user. Makes it private. Raises CannotStart if there is anything else."""
    try:
        found = path.lstat()
        _check(path, found, stat.S_ISDIR if folder else stat.S_ISSOCK if socket else stat.S_ISREG)
        if found.st_mode & _OTHERS:
            path.chmod(_FOLDER if folder else _FILE)
            _log_repair(path, found.st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unusable(path.parent, error) from None
    return True


def unusable(folder: Path, error: OSError) -> CannotStart:
    return CannotStart(f"the data folder {folder} cannot be used: {error.strerror}: set another one with --data")


def _check(path: Path, found: os.stat_result, is_right: Callable[[int], bool]) -> None:
    remedy = "remove it, or set another folder with --data"
    if not is_right(found.st_mode):
        wanted = _KINDS[is_right]
        kind = next((name for is_kind, name in _KINDS.items() if is_kind(found.st_mode)), "something else")
        raise CannotStart(f"{path} must be {wanted}, not {kind}: {remedy}")
    if found.st_uid != os.geteuid():
        raise CannotStart(f"{path} must belong to this user ({os.geteuid()}), not to user {found.st_uid}: {remedy}")


def _log_repair(path: Path, mode: int) -> None:
    if mode & _OTHERS_WRITE:
        _log.warning("other users could write to the data folder until now: check its files", path=str(path), mode=oct(stat.S_IMODE(mode)))
    elif mode & _OTHERS:
        _log.info("other users could read the data folder until now", path=str(path), mode=oct(stat.S_IMODE(mode)))
