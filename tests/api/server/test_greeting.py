"""What `limiter serve` prints at the start: secrets on a terminal only, because a log collector would store them."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from pathlib import Path
from limiter.api.control.admin_token import AdminToken
from limiter.api.server.serve import greet
from limiter.api.server.sample import Sample

folder = Path("/data of mine")
trial = Sample(folder / "limiter.yaml", "the-sample-key", folder / "sample-key")
token = AdminToken("the-admin-token", {kept_in}, is_own=True)
greet(trial, "http://127.0.0.1:8080", "http://127.0.0.1:8081", token)
"""


def greeting(kept_in, to):
    subprocess.run([sys.executable, "-P", "-c", PROGRAM.format(kept_in=kept_in)], stdout=to, check=True)


@pytest.mark.parametrize(("kept_in", "said"), [("folder / 'admin-token'", "kept in /data of mine/admin-token"), ("None", "of this run")])
def test_a_terminal_shows_the_token_and_the_key(kept_in, said):
    mine, theirs = pty.openpty()
    try:
        greeting(kept_in, theirs)
        shown = os.read(mine, 65536).decode()
    finally:
        os.close(mine)
        os.close(theirs)
    assert "the-admin-token" in shown
    assert "Bearer the-sample-key" in shown
    assert said in shown


def test_anything_else_gets_the_names_of_the_files(tmp_path: Path):
    with (tmp_path / "output").open("w") as output:
        greeting("folder / 'admin-token'", output)
    written = (tmp_path / "output").read_text()
    assert "the-admin-token" not in written
    assert "the-sample-key" not in written
    assert "Admin token: in the file /data of mine/admin-token" in written
    assert """curl -i -H "Authorization: Bearer $(cat '/data of mine/sample-key')" http://127.0.0.1:8080/authorize""" in written
