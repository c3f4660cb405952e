"""The log: text on a terminal, JSON elsewhere, and no value that a client chooses sends commands to the terminal."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter.api.logs.log_format import TextRenderer
from support.waiting import eventually

PROGRAM = """
import logging, sys, structlog
from limiter.api.logs import log_format
log_format.set_up(log_format.format_for(sys.argv[1]), worker=3)
log = structlog.get_logger("limiter.front")
log.info("serving", front="http://127.0.0.1:8080", redis={"version": "7.0.15"}, upstream=None, note="two words")
log.warning("Redis does not answer")
logging.getLogger("elsewhere").error("from a library")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def logged(asked, terminal, **environment):
    """The lines on standard error, which may be a terminal."""
    mine, theirs = pty.openpty() if terminal else os.pipe()
    env = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM"}} | {"TERM": "xterm"} | environment
    try:
        subprocess.run([sys.executable, "-P", "-c", PROGRAM, asked], stderr=theirs, check=True, env=env)
        return os.read(mine, 65536).decode().splitlines()
    finally:
        os.close(mine)
        os.close(theirs)


def test_a_terminal_gets_text_with_colors():
    info, warning, error, failed, *traceback = logged("auto", terminal=True)
    text = 'serving  front=http://127.0.0.1:8080  redis={"version": "7.0.15"}  note="two words"  worker=3'
    assert re.fullmatch(r"\d\d:\d\d:\d\d info     ", info[: -len(text)])
    assert info.endswith(text)
    assert "\x1b[33mwarning\x1b[0m  Redis does not answer" in warning
    assert "\x1b[31merror  \x1b[0m  from a library" in error
    assert "failed" in failed
    assert traceback[0].startswith("Traceback")
    assert traceback[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_gets_no_colors_where_they_are_not_wanted(environment):
    assert "\x1b" not in "".join(logged("auto", terminal=True, **environment))


@pytest.mark.parametrize(("asked", "terminal"), [("auto", False), ("json", False), ("json", True)])
def test_everything_else_gets_json_as_asked(asked, terminal):
    lines = [json.loads(line) for line in logged(asked, terminal=terminal)]
    assert [line["event"] for line in lines] == ["serving", "Redis does not answer", "from a library", "failed"]
    assert {(line["worker"], "timestamp" in line) for line in lines} == {(3, True)}


def test_text_that_is_asked_for_elsewhere_has_no_colors():
    lines = logged("text", terminal=False)
    assert "warning  Redis does not answer" in lines[1]
    assert "\x1b" not in "".join(lines)


@given(st.text())
def test_a_traceback_has_no_character_that_a_terminal_would_obey(message):
    line = {"timestamp": "2026-11-21T12:00:00Z", "level": "error", "event": "failed", "exception": f"Traceback:\nValueError: {message}"}
    lines = TextRenderer(has_colors=False)(None, "error", line).split("\n")
    assert "".join(lines).isprintable()
    assert lines[1] == "Traceback:"


@given(event=st.text(), value=st.text() | st.dictionaries(st.text(), st.text() | st.none()) | st.lists(st.integers()))
def test_text_has_no_character_that_a_terminal_would_obey(event, value):
    line = {"timestamp": "2026-11-21T12:00:00Z", "level": "info", "logger": "limiter", "event": event, "path": value}
    assert TextRenderer(has_colors=False)(None, "info", line).isprintable()


def test_on_a_terminal_the_sidecar_and_its_workers_log_text(tmp_path, server):
    (tmp_path / "limiter.yaml").write_text("policies: { p: { limits: [5/minute] } }\nidentify: { anonymous: p }\n")
    mine, theirs = pty.openpty()
    os.set_blocking(mine, False)
    command = [sys.executable, "-P", "-m", "limiter.api.cli.main", "serve", "--port", "0", "--admin-port", "0", "--workers", "2"]
    command += ["--config", tmp_path / "limiter.yaml", "--redis", server.url, "--data", tmp_path]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env={**os.environ, "NO_COLOR": "1"})
    shown = []

    def seen(*parts):
        with contextlib.suppress(BlockingIOError):
            shown.append(os.read(mine, 65536).decode())
        return all(part in "".join(shown) for part in parts)

    try:
        eventually(lambda: seen(" info     serving  front=http://127.0.0.1:", "The limit 'minute' allows 5."), "the first screen")
        process.send_signal(signal.SIGHUP)
        eventually(lambda: seen("worker=1", "worker=2", "info     configuration reloaded"), "lines of both workers")
    finally:
        process.terminate()
        process.wait(30)
        os.close(mine)
        os.close(theirs)
    assert "{" not in "".join(line for line in "".join(shown).splitlines() if "worker=" in line)
