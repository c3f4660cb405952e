"""The folders of examples/gateways run as their READMEs say, and docs/gateways.md states what they contain and what works."""

import os
import re

import pytest
import yaml

from limiter.api.config.loader import loads
from support.pages import ROOT, blocks, links, run
from support.servers.gateways import FOLDER, MAIN, OPEN, PLACES, copied, environment
from support.servers.redis_server import free_port

PAGE = (ROOT / "docs" / "gateways.md").read_text()
NAMES = {"nginx": "nginx", "caddy": "Caddy", "haproxy": "HAProxy", "apache": "Apache", "envoy": "Envoy", "traefik": "Traefik"}


@pytest.mark.parametrize("program", MAIN)
def test_the_commands_of_a_readme_lead_to_a_limited_api(program, server, monkeypatch):
    monkeypatch.setenv("PATH", f"{PLACES}:{os.environ['PATH']}")
    ports = {name: free_port() for name in ("8000", "8001", "8080", "9000")}
    with copied(program, ports) as folder:
        start, ask = blocks((folder / "README.md").read_text(), "sh")
        asked = ask.replace("curl", "curl -sf")
        answer = run(
            f"{start.rstrip()} &\nuntil {asked.rstrip()}; do sleep 0.1; done", folder, server.url, ports["8080"], **environment(folder)
        )
    assert re.search(r"(?m)^HTTP/1.. 200", answer)
    assert re.search(r"(?im)^x-ratelimit-remaining: \d+", answer)
    # Of the API, which lists the folder.
    assert MAIN[program] in answer


@pytest.mark.parametrize("program", MAIN)
def test_the_configuration_of_an_example_is_accepted_without_warnings(program):
    rules = loads((FOLDER / program / "limiter.yaml").read_text())
    assert rules.warnings == ()
    assert rules.trusts("127.0.0.1")


@pytest.mark.parametrize("program", MAIN)
def test_the_links_of_a_readme_lead_to_files(program):
    for target in links((FOLDER / program / "README.md").read_text()):
        assert (FOLDER / program / target).exists(), target


def section(program):
    return re.split(r"(?m)^## ", PAGE.partition(f"\n## {NAMES[program]}\n")[2])[0]


@pytest.mark.parametrize("program", MAIN)
def test_the_code_in_the_docs_is_that_of_the_example(program):
    files = [_lines(file.read_text()) for file in (FOLDER / program).rglob("*") if file.is_file()]
    shown = yaml.safe_load((FOLDER / program / "limiter.yaml").read_text())
    sidecar, *parts = re.findall(r"(?ms)^ *```\w+\n(.*?)^ *```", section(program))
    for field, value in yaml.safe_load(sidecar).items():
        assert shown[field] == (shown[field] | value if isinstance(value, dict) else value)
    for part in parts:
        assert any(_lines(part) in text for text in files), part


def _lines(text):
    return "\n".join(line.strip() for line in text.strip().splitlines())


@pytest.mark.parametrize("program", MAIN)
def test_the_docs_name_the_line_that_lets_requests_pass(program):
    rows = dict(re.findall(r"(?m)^\| (\w+) \| `(.*?)` \|", PAGE.partition("| the line |")[2].partition("\n## ")[0]))
    assert rows[NAMES[program]] == OPEN[program][1].strip("\t\n ,")


def test_the_table_states_what_the_tests_of_the_gateways_show(request):
    """`make bench` writes the table from the outcomes of the tests that are marked with the name of a column. All of them pass."""
    table = PAGE.partition("<!-- gateways -->")[2].partition("<!-- end of gateways -->")[0]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|"))
    works = {mark.args[0] for item in request.session.items for mark in item.iter_markers("works")} or set(head[2:9])
    assert [row[0] for row in rows] == list(NAMES.values())
    assert set(head[2:9]) >= works
    assert {cell for row in rows for cell in row[2:9]} == {"yes"}
