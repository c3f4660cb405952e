"""Moving from nginx, Kong, APISIX and envoyproxy/ratelimit: what is imported of theirs, and what the sidecar admits by the pages' files."""

import re
import shutil
import subprocess
import time

import pytest
import yaml

from limiter.api.config.loader import loads
from limiter.api.importing import envoy_ratelimit, nginx
from support.moving import FOLDER, block, titled
from support.pages import ROOT
from support.servers.fronts import fronts
from support.servers.redis_server import free_port
from support.servers.sidecar import ask
from support.waiting import eventually


@pytest.mark.parametrize("page", ["nginx", "envoy-ratelimit"])
def test_the_import_has_the_limits_and_the_routes_of_the_page(tmp_path, page):
    theirs = {"nginx": "nginx", "envoy-ratelimit": "envoyproxy/ratelimit"}[page]
    (tmp_path / "theirs").write_text(block(page, theirs))
    draft = {"nginx": nginx, "envoy-ratelimit": envoy_ratelimit}[page].draft_of(tmp_path / "theirs")
    imported, stated = yaml.safe_load(draft.render()), yaml.safe_load(block(page, "limiter.yaml"))
    limits = [{name: policy["limits"] for name, policy in each["policies"].items()} for each in (imported, stated)]
    assert limits[0] == limits[1]
    assert {route["path"]: route for route in imported["routes"]} == {route["path"]: route for route in stated["routes"]}
    assert stated["identify"].items() >= {"order": []}.items()


YAML = [(page.stem, title) for page in sorted(FOLDER.glob("*.md")) for title, (kind, _) in titled(page.stem).items() if kind == "yaml"]


@pytest.mark.parametrize(("page", "title"), YAML)
def test_the_yaml_of_a_page_is_accepted(page, title):
    if title.startswith("limiter.yaml"):
        assert loads(block(page, title)).warnings == ()
    else:
        assert yaml.safe_load(block(page, title))


BY_GATEWAY = {
    "nginx": ("nginx", "limiter.yaml", "/authorize", {"X-Original-Method": "POST", "X-Original-URI": "/login"}, 5, 403),
    "envoy": ("envoy-ratelimit", "limiter.yaml", "/authorize/login", {}, 5, 429),
    "apisix": (
        "kong-apisix",
        "limiter.yaml, asked by APISIX",
        "/authorize",
        {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/items"},
        100,
        429,
    ),
    "kong": ("kong-apisix", "limiter.yaml, behind Kong", "/authorize/items", {"x-api-key": "trial-key"}, 100, 429),
}


@pytest.mark.parametrize("gateway", BY_GATEWAY)
def test_the_sidecar_admits_what_the_page_says(server, prefix, gateway):
    page, title, path, headers, capacity, status = BY_GATEWAY[gateway]
    config = f"{block(page, title)}\nredis: {{ prefix: {prefix}, deadline: 10s }}\n"
    with fronts(server.url, front=(config, None)) as (port,):
        sent = {**headers, "X-Forwarded-For": "203.0.113.7"}
        replies = [ask(f"http://127.0.0.1:{port}", path, headers=sent) for _ in range(capacity + 1)]
    assert [reply.status for reply in replies] == [200] * capacity + [status]
    assert replies[-1].headers["Retry-After"]


def test_nginx_admits_what_the_page_says(tmp_path):
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert program, "install nginx: `make test` does it on Debian (package nginx-light)"
    ports = {"8000": free_port(), "9000": free_port()}
    theirs = block("nginx", "nginx").replace("listen 8000", "listen 127.0.0.1:8000")
    code = re.sub(r"\b(8000|9000)\b", lambda found: str(ports[found[1]]), theirs)
    paths = " ".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    api = f"server {{ listen 127.0.0.1:{ports['9000']}; location / {{ return 200; }} }}"
    configuration = f"daemon off; pid {tmp_path}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off; {paths}\n{code}\n{api}\n}}\n"
    (tmp_path / "nginx.conf").write_text(configuration)
    base = f"http://127.0.0.1:{ports['8000']}"
    process = subprocess.Popen([program, "-p", tmp_path, "-c", "nginx.conf", "-e", "stderr"], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _answers(base), "nginx answers")
        started = time.monotonic()
        statuses = [ask(base, "/login").status for _ in range(6)]
        # 5 at once, and another one every 12 seconds.
        assert statuses == [200] * 5 + [429] or time.monotonic() - started > 12
    finally:
        process.terminate()
        process.wait(10)


def _answers(base: str) -> bool:
    try:
        return ask(base, "/").status == 200
    except OSError:
        return False


def test_every_page_is_in_the_index_and_in_the_navigation():
    index, navigation = (FOLDER / "README.md").read_text(), (ROOT / "zensical.toml").read_text()
    for page in FOLDER.glob("*.md"):
        assert f"docs/moving/{page.name}" in navigation
        assert page.name == "README.md" or f"({page.name})" in index
