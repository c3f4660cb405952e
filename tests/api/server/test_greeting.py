"""What `limiter serve` prints at the start: secrets on a terminal only, because a log collector would store them."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from limiter.api.config.loader import loads, starting_file
from limiter.api.welcome.greeting import first_steps
from support.servers.sidecar import sidecar
from support.waiting import eventually

PROGRAM = """
from pathlib import Path
from limiter.api.control.admin_token import AdminToken
from limiter.api.welcome.greeting import Steps, greet
from limiter.api.welcome.sample import Sample
from limiter import SlidingWindow

folder = Path("/data of mine")
trial = Sample(folder / "limiter.yaml", "the-sample-key", folder / "sample-key")
token = AdminToken("the-admin-token", {kept_in}, is_own=True)
steps = Steps("http://127.0.0.1:8080/authorize", trial.config, SlidingWindow.per_minute(100))
greet(steps, trial, "http://127.0.0.1:8081", token)
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
    assert [line for line in shown.splitlines() if len(line) > 80 and "curl" not in line] == []


def test_anything_else_gets_the_names_of_the_files(tmp_path: Path):
    with (tmp_path / "output").open("w") as output:
        greeting("folder / 'admin-token'", output)
    written = (tmp_path / "output").read_text()
    assert "the-admin-token" not in written
    assert "the-sample-key" not in written
    assert "Admin token: in the file /data of mine/admin-token" in written
    assert """  curl -i -H "Authorization: Bearer $(cat '/data of mine/sample-key')" http://127.0.0.1:8080/authorize""" in written


def printed_commands(running):
    eventually(lambda: "API documentation" in running.output, "the greeting")
    return [line for line in running.output.splitlines() if line.startswith("  curl")]


def run(command):
    return subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_printed_commands_lead_to_the_first_429(tmp_path):
    """With the sample and its own Redis: what `make serve` prints, in a folder whose name needs quotes."""
    (tmp_path / "a folder").mkdir()
    with sidecar(tmp_path / "a folder") as running:
        first, many, last = map(run, printed_commands(running))
    assert first.startswith("HTTP/1.1 200 OK")
    counted = {status: int(number) for number, status in (line.split() for line in many.splitlines())}
    assert counted["200"] == 99
    assert counted["429"] > 0
    assert last.startswith("HTTP/1.1 429 ")
    assert "retry-after: " in last.lower()


def test_the_printed_commands_need_no_key_where_callers_without_a_key_are_limited(tmp_path, server, prefix):
    config = f"policies: {{ p: {{ limits: ['burst 20, 1/hour'] }} }}\nidentify: {{ anonymous: p }}\nredis: {{ prefix: {prefix} }}\n"
    with sidecar(tmp_path, config, redis=server.url) as running:
        first, many, last = map(run, printed_commands(running))
        assert "Bearer" not in "".join(printed_commands(running))
    assert (first[:12], last[:12]) == ("HTTP/1.1 200", "HTTP/1.1 429")
    assert many.split() == ["19", "200", "4", "429"]


@pytest.mark.parametrize(
    ("config", "front", "proxies"),
    [
        (starting_file(), "https://localhost:8080", False),  # curl would need the certificate
        (starting_file(), "http://localhost:8080", True),  # the paths are those of the API
        ("policies: { p: { limits: [100000/minute] } }\nidentify: { anonymous: p }\n", "http://localhost:8080", False),
        (starting_file() + "deny_status: 403\n", "http://localhost:8080", False),
    ],
)
def test_no_commands_are_printed_that_would_not_lead_to_a_429(config, front, proxies):
    assert first_steps(loads(config), None, front, Path("limiter.yaml"), proxies=proxies).limit is None


def test_where_callers_need_a_key_the_commands_that_make_one_are_printed(tmp_path, server, prefix):
    redis = f"{{ prefix: {prefix}, url: '{server.url}' }}"
    config = f"policies: {{ p: {{ limits: [5/minute] }} }}\ntiers: {{ free: {{ key: p }} }}\nredis: {redis}\n"
    with sidecar(tmp_path, config) as running:
        eventually(lambda: "API documentation" in running.output, "the greeting")
        (line,) = [line for line in running.output.splitlines() if line.startswith("Make a key:")]
        made = run(line.partition(":")[2].replace("limiter ", f"{sys.executable} -P -m limiter.api.cli.main "))
        key = made.partition("\nkey ")[2].split()[0]
        assert running.ask(key=key).status == 200
