"""The pages under docs/ are right: their Python and shell examples run, their YAML is accepted, their links lead somewhere."""

import re

import pytest
import yaml

import limiter
from limiter.api.config.loader import loads
from support.pages import PAGES, ROOT, blocks, links, run
from support.servers.sidecar import TOKEN

DOCS = [page for page in PAGES if page.is_relative_to(ROOT / "docs")]
# tests/limiter/web/test_frameworks_page.py runs the Python of frameworks.md.
WITH_PYTHON = [page for page in DOCS if blocks(page.read_text(), "python") and page.name != "frameworks.md"]
WITH_YAML = [page for page in DOCS if blocks(page.read_text(), "yaml")]
POLICIES = "policies: { standard: { limits: [100/minute] } }\ntiers: { free: { key: standard } }\n"
READY = "curl -sf --retry 20 --retry-connrefused --retry-delay 1 http://localhost:8081/readyz\n"


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@pytest.fixture
def example_redis(monkeypatch, server, prefix, client):
    """The limiters of a page on the test's Redis, with a deadline that a busy machine keeps. Other addresses stay as they are."""
    for name in ("Limiter", "AsyncLimiter"):
        real = getattr(limiter, name)

        def on_the_tests_redis(url, real=real, **options):
            if url != "redis://localhost":
                return real(url)
            return real(server.url, **{**options, "prefix": f"{prefix}{options.get('prefix', '')}", "deadline": 10})

        monkeypatch.setattr(limiter, name, on_the_tests_redis)
    yield
    if left := list(client.scan_iter(f"{prefix}*")):
        client.delete(*left)


@pytest.mark.usefixtures("example_redis")
@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs_and_prints_what_its_comments_say(page, capsys):
    names: dict = {}
    for code in blocks(page.read_text(), "python"):
        exec(compile(code, page.name, "exec"), names)  # noqa: S102 - running the examples is the test
        printed = capsys.readouterr().out
        for expected in re.findall(r"print\(.*\)  # (True \d+|\d+)", code):
            assert expected in printed.splitlines()
    if "limiter" in names:
        names["limiter"].close()


@pytest.mark.usefixtures("example_redis")
@pytest.mark.parametrize("verb", ["take", "peek", "refund", "take_many", "inspect", "enforce", "wait", "reset"])
@pytest.mark.parametrize("failure", ["open", "closed", None])
def test_the_table_of_outages_is_right(failure, verb):
    header, *rows = re.findall(
        r"(?m)^\| (.*) \|$", text_of("concepts.md").partition("## When Redis does not answer")[2].partition("\n## ")[0]
    )
    row = next(row for row in rows if f"`{verb}`" in row)
    stated = dict(zip(re.findall(r'"\w+"|no failure mode', header), row.split(" | ")[1:], strict=True))
    assert _outcome(verb, failure) == stated[f'"{failure}"' if failure else "no failure mode"].partition(" after")[0]


def _outcome(verb: str, failure: str | None) -> str:
    policy = limiter.Policy("p", ["1/minute"], failure=failure)
    nowhere = limiter.Limiter("redis://127.0.0.1:1")
    arguments = {"take_many": ([limiter.Charge(policy, "s")],)}.get(verb, (policy, "s"))
    options = {"wait": {"timeout": 0.1}, "refund": {"at": 1}}.get(verb, {})
    try:
        found = getattr(nowhere, verb)(*arguments, **options)
    except limiter.LimiterError as error:
        return f"raises `{type(error).__name__}`"
    if verb == "inspect":
        return "an empty tuple" if found == () else f"{found}"
    decision = found[0] if verb == "take_many" else found
    degraded = ", degraded" if decision.degraded and verb != "enforce" else ""
    return f"{'allowed' if decision else 'denied'}{degraded}"


@pytest.mark.parametrize("page", WITH_YAML, ids=lambda page: page.stem)
def test_the_yaml_of_a_page_is_accepted(page):
    """A part of a configuration is completed with a policy. YAML of another program is only parsed."""
    for text in blocks(page.read_text(), "yaml"):
        if not yaml.safe_load(text).keys() & {"address", "allowed_headers", "http", "http_filters"}:
            assert loads(text if "policies:" in text else POLICIES + text).warnings == ()


@pytest.fixture
def acl_urls(server, client, prefix):
    """The URLs of the users that the operations page creates, first the library's, then the sidecar's."""
    users = []
    for commands in blocks(text_of("operations.md"), "redis"):
        for command in commands.replace("~lim:", f"~{prefix}:").splitlines():
            client.execute_command(*command.split())
        users.append(command.split()[2])
    yield [server.url.replace("://", f"://{user}:secret@") for user in users]
    client.acl_deluser(*users)


def test_the_acl_user_of_the_library_suffices(acl_urls, prefix):
    with limiter.Limiter(acl_urls[0], prefix=prefix, deadline=10) as limits:
        policy = limiter.Policy("p", ["100/minute", "quota 5/day", "burst 5, 1/second"])
        assert limits.take(policy, "s")
        assert limits.refund(limits.take(policy, "s"))
        limits.reset(policy, "s")


def test_the_shell_of_getting_started_runs_as_the_acl_user_of_the_sidecar(tmp_path, acl_urls, prefix):
    script = "\n".join(blocks(text_of("getting-started.md"), "sh"))
    asked = run(_with_prefix(f"{script}\nlimiter audit\nlimiter audit --refused\n", prefix), tmp_path, acl_urls[1])
    assert re.findall(r"(?m)^HTTP/1.1 (\d+)", asked) == ["200", "401"]
    assert "revoked-key" in asked
    assert re.search(r"(?im)^x-ratelimit-remaining: \d+", asked)


def test_the_shell_of_the_gateways_runs(tmp_path, server, prefix):
    proxy, program = blocks(text_of("gateways.md"), "sh")
    decided = run(
        _with_prefix(f"limiter init limiter.yaml\n{proxy.replace('--upstream http://127.0.0.1:9000 ', '')}{READY}{program}", prefix),
        tmp_path,
        server.url,
    )
    assert decided.count('"allowed": true') == 3
    assert "--upstream" in proxy


def test_the_shell_of_the_operations_runs(tmp_path, server, prefix):
    serve, health, with_token, attempts, counts = blocks(text_of("operations.md"), "sh")
    assert "--v1-token-file" in with_token
    shown = run(
        _with_prefix(f"limiter init limiter.yaml\n{serve}{READY}{health}{attempts}{counts}", prefix),
        tmp_path,
        server.url,
        LIMITER_ADMIN_TOKEN=TOKEN,
    )
    assert '{"status":"ok"}' in shown
    assert '"policies":["anonymous"' in shown
    assert "100 of 100 left" in shown


def _with_prefix(script: str, prefix: str) -> str:
    """The configuration that `limiter init` writes, on keys of the test's own, and with time for a busy machine."""
    return re.sub(r"(?m)^(limiter init .*)$", rf'\1\necho "redis: {{ prefix: {prefix}, deadline: 10s }}" >> limiter.yaml', script)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_to_files(page):
    for target in links(page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_decision_is_in_the_index():
    folder = ROOT / "docs/decisions"
    assert sorted(links((folder / "README.md").read_text())) == sorted(page.name for page in folder.glob("0*.md"))


def test_every_test_that_a_page_names_exists():
    defined = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"(?m)^(?:async )?def (test_\w+)", file.read_text())
    }
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    assert named
    assert named <= defined


def test_every_public_name_is_in_the_reference():
    assert set(re.findall(r"(?m)^::: limiter\.(\w+)$", text_of("reference.md"))) == set(limiter.__all__)
