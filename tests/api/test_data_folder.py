"""The data folder is private, and what somebody else may have put there is neither read nor written."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from limiter.api.command_errors import CannotStart
from limiter.api.control.admin_token import own_admin_token
from limiter.api.data_folder import open_file, open_folder, read_file, write_file
from limiter.api.welcome.sample import sample
from support.servers.sidecar import sidecar


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0o000, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_new_files_and_folders_are_private_whatever_the_umask(tmp_path):
    found = sample(tmp_path / "data")
    assert [mode(path) for path in (tmp_path / "data", found.config, found.key_file)] == [0o700, 0o600, 0o600]


@pytest.mark.parametrize(("before", "level"), [(0o755, "info"), (0o777, "warning"), (0o700, None)])
def test_an_existing_folder_becomes_private_and_the_log_says_so(tmp_path, before, level):
    tmp_path.chmod(before)
    (tmp_path / "sample-key").write_text("ff_test_known")
    (tmp_path / "sample-key").chmod(0o644)
    with capture_logs() as lines:
        sample(tmp_path)
    assert (mode(tmp_path), mode(tmp_path / "sample-key")) == (0o700, 0o600)
    assert [line["log_level"] for line in lines if line["path"] == str(tmp_path)] == ([level] if level else [])


@pytest.mark.parametrize("name", ["sample-key", "limiter.yaml"])
def test_a_planted_link_is_refused_and_its_target_stays(tmp_path, name):
    target = tmp_path / "theirs"
    target.write_text("precious")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).symlink_to(target)
    with pytest.raises(
        CannotStart, match=f"{name} must be a regular file, not a symbolic link: remove it, or set another folder with --data"
    ):
        sample(tmp_path / "data")
    assert (target.read_text(), mode(target) & 0o044) == ("precious", 0o044)


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_RDONLY, os.O_WRONLY | os.O_APPEND])
def test_opening_never_follows_a_link_or_waits_for_a_pipe(tmp_path, flags):
    (tmp_path / "theirs").touch()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (("link", "a symbolic link"), ("dangling", "a symbolic link"), ("pipe", "something else")):
        with pytest.raises(CannotStart, match=f"{name} must be a regular file, not {kind}"):
            open_file(tmp_path / name, flags)
    assert not (tmp_path / "new").exists()


def test_a_file_is_replaced_as_a_whole(tmp_path):
    write_file(tmp_path / "a", "first")
    (tmp_path / f".a.{os.getpid()}").write_text("left over by a process that was killed")
    write_file(tmp_path / "a", "second")
    assert (read_file(tmp_path / "a"), [path.name for path in tmp_path.iterdir()]) == ("second", ["a"])


def test_the_folder_of_another_user_is_refused(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder of another user")
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(CannotStart, match=r"must belong to this user \(0\), not to user 12345: set another one with --data, such as"):
        open_folder(tmp_path)
    os.chown(tmp_path, 0, -1)
    (tmp_path / "sample-key").write_text("planted")
    os.chown(tmp_path / "sample-key", 12345, -1)
    with pytest.raises(CannotStart, match="sample-key must belong to this user"):
        sample(tmp_path)


def serve(folder, *arguments, code="", **environment):
    """What `limiter serve` says on standard error when it cannot start; `code` runs in its process before."""
    program = f"{code}\nimport sys\nfrom limiter.api.cli.main import main\nsys.argv = ['limiter', 'serve', *sys.argv[1:]]\nmain()"
    command = [sys.executable, "-P", "-c", program, "--port", "0", "--admin-port", "0", *arguments]
    kept = {name: value for name, value in os.environ.items() if name not in {"HOME", "XDG_DATA_HOME", "LIMITER_REDIS_URL"}}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder, env={**kept, **environment})


@pytest.mark.parametrize("name", ["lock", "redis.log"])
def test_the_embedded_redis_follows_no_link(tmp_path, name):
    target = tmp_path / "theirs"
    target.write_text("precious")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).symlink_to(target)
    ended = serve(tmp_path, "--data", str(tmp_path / "data"))
    assert (ended.returncode, target.read_text()) == (1, "precious")
    assert f"{name} must be a regular file, not a symbolic link: remove it" in ended.stderr


def test_a_link_to_the_socket_of_another_redis_does_not_stop_that_redis(tmp_path):
    """A Redis that an earlier sidecar left behind is stopped. It is recognized by the socket in the folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/redis.sock").symlink_to(tmp_path / "theirs")
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(tmp_path / "theirs"))
        theirs.listen()
        theirs.setblocking(False)
        ended = serve(tmp_path, "--data", str(tmp_path / "data"))
        assert "redis.sock must be a socket, not a symbolic link" in ended.stderr
        with pytest.raises(BlockingIOError):
            theirs.accept()


NO_HOME = "import pwd\ndef unknown(uid):\n    raise KeyError(uid)\npwd.getpwuid = unknown\n"


def test_a_user_without_a_home_folder_has_to_name_the_data_folder(tmp_path):
    ended = serve(tmp_path, code=NO_HOME)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert "this user has no home folder: name one with --data or XDG_DATA_HOME" in ended.stderr


def test_a_user_without_a_home_folder_can_serve_from_xdg_data_home(tmp_path):
    (tmp_path / "limiter").mkdir()
    (tmp_path / "limiter/lock").symlink_to("/nowhere")
    # It got as far as the lock.
    assert f"{tmp_path}/limiter/lock must be a regular file" in serve(tmp_path, code=NO_HOME, XDG_DATA_HOME=str(tmp_path)).stderr


def test_everything_in_the_folder_of_a_running_sidecar_is_private(tmp_path):
    (tmp_path / "data/appendonlydir").mkdir(parents=True, mode=0o755)
    (tmp_path / "data").chmod(0o777)
    with sidecar(tmp_path, env={"LIMITER_ADMIN_TOKEN": ""}) as running:
        modes = {path.relative_to(tmp_path): oct(mode(path)) for path in (tmp_path / "data").rglob("*") if path.name != "redis.sock"}
        assert {path.name for path in modes} >= {"lock", "redis.log", "sample-key", "limiter.yaml", "admin-token", "appendonlydir"}
        assert {path: found for path, found in modes.items() if found != ("0o700" if path.name == "appendonlydir" else "0o600")} == {}
        assert mode(tmp_path / "data/redis.sock") & 0o077 == 0
        assert mode(tmp_path / "data") == 0o700
        (line,) = [line for line in running.log if line["event"].startswith("other users could write")]
        assert line["path"] == str(tmp_path / "data")


def test_without_a_folder_the_admin_token_is_not_stored_and_a_warning_says_so(monkeypatch):
    """The front needs no admin token, so the sidecar starts."""
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with capture_logs() as lines:
        token = own_admin_token(None)
    assert (token.kept_in, len(token.text)) == (None, 32)
    assert [(line["log_level"], "set LIMITER_ADMIN_TOKEN, --admin-token-file or --data" in line["event"]) for line in lines] == [
        ("warning", True)
    ]
    assert token.text not in str(lines)


def no_home():
    raise RuntimeError


def test_the_admin_token_is_made_once(tmp_path):
    first, second = own_admin_token(tmp_path), own_admin_token(tmp_path)
    assert (first.text, first.kept_in) == (second.text, tmp_path / "admin-token")
