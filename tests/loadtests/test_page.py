"""docs/load-tests.md is right: its commands run, and its tables name all options and shapes."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from users.options import add_options
from users.shapes import SHAPES

from support.pages import ROOT, blocks, run

PAGE = (ROOT / "docs/load-tests.md").read_text()
READY = "curl -s --retry 20 --retry-connrefused --retry-delay 1 http://localhost:8081/readyz\n"
SERVE, TEST, *OTHERS = blocks(PAGE, "sh")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder in which the commands of the page work, with `locust` on the path."""
    (tmp_path / "loadtests").symlink_to(ROOT / "loadtests")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "keys.txt").write_text("key-1 acme\n")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return tmp_path


def test_the_test_of_a_sidecar_runs(checkout, server, prefix):
    text = (ROOT / "examples/quickstart.yaml").read_text()
    (checkout / "quickstart.yaml").write_text(f"{text}redis: {{ deadline: 10s, prefix: {prefix} }}\n")
    said = run(SERVE.replace("examples/", "") + READY + TEST, checkout, server.url)

    assert said.endswith(blocks(PAGE, "text")[0])
    assert "The limits were held" in (checkout / "load-report.html").read_text()


def test_the_other_commands_are_accepted(checkout):
    """Locust reads its options and lists the user classes instead of running them."""
    listing = [
        subprocess.Popen([*shlex.split(command.replace("\\\n", " ")), "--list"], cwd=checkout, stdout=subprocess.PIPE, text=True)
        for command in OTHERS
    ]
    assert [(process.communicate(timeout=60)[0].split()[2:], process.returncode) for process in listing] == [
        (["Client"], 0),
        (["Client"], 0),
        (["Client"], 0),
        (["Deframe", "FileForge", "FormFlow", "FrameFlow", "Gateway"], 0),
    ]


def test_the_user_class_of_the_page_is_one(checkout):
    (checkout / "loadtests").unlink()
    (checkout / "own.py").write_text(blocks(PAGE, "py")[0])
    listing = [sys.executable, "-m", "locust", "-f", "own.py", "--list"]
    done = subprocess.run(
        listing,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'loadtests'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split()[2:] == ["Search"], done.stderr


def test_the_table_has_all_options():
    parser = argparse.ArgumentParser(add_help=False)
    add_options(parser)
    options = {name for action in parser._actions for name in action.option_strings}  # noqa: SLF001 - argparse has no other list
    table = PAGE.partition("## Options")[2].partition("\n## ")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"--[a-z0-9-]+", row)} == options


def test_the_table_has_all_shapes():
    table = PAGE.partition("## Shapes")[2].partition("\n## ")[0]
    assert set(re.findall(r"(?m)^\| `(\w+)` ", table)) == set(SHAPES)
