"""The examples of the README work: its Python runs against a real Redis, its shell against a running sidecar."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import limiter
from support.pages import ROOT, blocks
from support.servers.sidecar import sidecar

README = (ROOT / "README.md").read_text()


def shell(script: str, sidecar_url: str, folder: Path) -> bytes:
    command = ["/bin/sh", "-e", "-c", script.replace("http://localhost:8080", sidecar_url)]
    return subprocess.run(command, stdout=subprocess.PIPE, cwd=folder, check=True).stdout


@pytest.fixture
def example_redis(monkeypatch, server):
    """The README's limiters on the test's Redis, with a deadline that a busy machine keeps."""
    for name in ("Limiter", "AsyncLimiter"):
        real = getattr(limiter, name)
        monkeypatch.setattr(limiter, name, lambda _, real=real: real(server.url, prefix="readme", deadline=10))


@pytest.mark.usefixtures("example_redis")
def test_the_python_of_the_readme_runs(client, capsys):
    names: dict = {}
    for code in blocks(README, "python"):
        exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - running the examples is the test
    printed = capsys.readouterr().out
    assert "49 left of 50" in printed
    assert "'X-RateLimit-Remaining': '49'" in printed
    assert "200 admitted" in printed
    assert names["report"]("ada") == "the report for ada"
    names["limiter"].close()
    client.delete(*client.scan_iter("readme:*"))


def test_the_shell_of_the_readme_runs(tmp_path, server):
    """100 allowed, the 101st denied with all headers and the reason, and allowed again once Retry-After has passed."""
    if shutil.which("curl") is None:
        pytest.fail("curl is not on PATH: `make test` installs it on Debian (package curl)")
    config = (ROOT / "examples/quickstart.yaml").read_text() + "redis: { deadline: 10s, prefix: quickstart }\n"
    walk, ask = (next(code for code in blocks(README, "sh") if part in code) for part in ("seq 100", "/v1/take"))
    with sidecar(tmp_path, config, redis=server.url) as running:
        walked = shell(walk, running.front, tmp_path)
        answer = shell(ask, running.front, tmp_path)
    counted, denied, again = re.split(rb"(?=HTTP/1.1 )", walked)
    assert counted.split() == [b"100", b"200"]
    assert denied.startswith(b"HTTP/1.1 429 ")
    for header in (b"ratelimit-policy", b"ratelimit", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset", b"retry-after"):
        assert re.search(rb"(?m)^%b: \S" % header, denied)
    assert b"quota-exceeded" in denied
    assert b'"violated-policies": ["20s"]' in denied
    assert again.startswith(b"HTTP/1.1 200 ")
    assert b'"allowed": true' in answer or b'"allowed":true' in answer


def test_the_order_to_read_in_names_real_modules():
    assert limiter.__doc__ is not None
    named = re.findall(r"`([a-z_/]+\.(?:py|lua))`", limiter.__doc__)
    assert named
    for name in named:
        assert (ROOT / name).exists(), name
