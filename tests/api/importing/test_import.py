"""Imported configurations admit what the original admits, and say what they could not translate."""

import http.client
from collections import Counter
from getpass import getuser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from limiter.api.cli.main import app
from limiter.api.config.loader import loads
from limiter.api.importing import envoy_ratelimit, nginx
from limiter.api.importing.draft import CannotImport
from support.examples import examples
from support.servers.file_servers import program, running
from support.servers.redis_server import free_port
from support.servers.sidecar import sidecar

LIMITS = """
limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m;
limit_req_zone $remote_addr zone=two:1m rate=2r/m;
limit_req_status 429;
"""
LOCATIONS = """
location /login { limit_req zone=one burst=4 nodelay; }
location /login/again { limit_req zone=two; }
location = /exact { limit_req zone=one burst=2 nodelay; limit_req zone=two burst=6 nodelay; }
location /free { }
location /login/free { }
location /dry { limit_req zone=one; limit_req_dry_run on; }
"""
SERVER = """
daemon off; user {user}; pid nginx.pid; error_log error.log; events {{ }}
http {{
  access_log off; default_type text/plain;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  {limits}
  server {{ listen 127.0.0.1:{port}; root files; {default} {locations} }}
}}
"""
PATHS = ("/login/x", "/login/free/x", "/login/again/x", "/exact", "/free/x", "/dry/x", "/other/x")


def admitted(port: int, path: str, prefix: str = "") -> int:
    """How many of ten requests at once are admitted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        return sum(_status(connection, prefix + path) == 200 for _ in range(10))
    finally:
        connection.close()


def _status(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return response.status


EVERYTHING = "location / { limit_req zone=one burst=7 nodelay; }"
DEFAULTS = {"locations alone": "", "server and locations": "limit_req zone=one burst=7 nodelay;", "a location around all": EVERYTHING}


@pytest.mark.parametrize("default", DEFAULTS.values(), ids=DEFAULTS.keys())
def test_an_imported_configuration_admits_as_many_as_nginx(tmp_path, server, client, prefix, default):
    port = free_port()
    for path in PATHS:
        file = tmp_path / f"files{path}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("a file")
    text = SERVER.format(user=getuser(), port=port, limits=LIMITS, default=default, locations=LOCATIONS)
    (tmp_path / "nginx.conf").write_text(text)
    ours = nginx.draft_of(tmp_path / "nginx.conf").render() + f"\nredis: {{ prefix: {prefix}, deadline: 10s }}\n"
    with sidecar(tmp_path, ours, redis=server.url) as running_sidecar:
        for path in PATHS:
            # A zone of nginx, and a policy, counts several locations together: each path begins anew.
            if counted := list(client.scan_iter(f"{prefix}:*")):
                client.delete(*counted)
            with running([program("nginx"), "-p", tmp_path, "-c", "nginx.conf", "-e", "error.log"], port):
                by_nginx = admitted(port, path)
            assert admitted(running_sidecar.port, path, "/authorize") == by_nginx, path


def test_what_nginx_does_differently_is_noted(tmp_path):
    file = tmp_path / "nginx.conf"
    file.write_text(
        """
        limit_req_zone $server_name zone=host:1m rate=1r/s;
        limit_req_zone $http_x_api_key zone=keys:1m rate=1r/s;
        server {
            location /a { limit_req zone=host; }
            location /b { limit_req zone=keys burst=5; limit_conn addr 10; }
            location ~ x$ { limit_req zone=keys; }
        }
        """
    )
    draft = nginx.draft_of(file)
    notes = Counter(
        part
        for note in draft.notes
        for part in ("$server_name", "delays", "instead of 503", "concurrent", "regular", "issue")
        if part in note
    )
    assert set(notes) == {"$server_name", "delays", "instead of 503", "concurrent", "regular", "issue"}
    rules = loads(draft.render())
    assert rules.policies.keys() == {"keys"}
    assert "# - line 2: zone host counts by $server_name" in draft.render()


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    ended = CliRunner().invoke(app, ["import", "nginx", str(tmp_path / "nowhere")])
    assert (ended.exit_code, ended.stderr) == (2, f"limiter: {tmp_path}/nowhere cannot be read: No such file or directory\n")


def test_a_file_that_is_not_nginx_is_refused_with_its_line(tmp_path):
    file = tmp_path / "nginx.conf"
    file.write_text("http {\n  server {\n")
    with pytest.raises(CannotImport, match=r"nginx\.conf:\d: unexpected end of file"):
        nginx.draft_of(file)


RATELIMIT = """
domain: api
descriptors:
  - key: remote_address
    rate_limit: { unit: minute, requests_per_unit: 60 }
  - key: path
    value: /login
    descriptors:
      - key: remote_address
        rate_limit: { unit: day, requests_per_unit: 5 }
        shadow_mode: true
  - key: tenant
    descriptors:
      - key: plan
        value: free
        rate_limit: { unit: MONTH, requests_per_unit: 1000 }
"""


def test_descriptors_become_policies_routes_and_subjects(tmp_path):
    file = tmp_path / "api.yaml"
    file.write_text(RATELIMIT)
    draft = envoy_ratelimit.draft_of(file)
    assert draft.policies == {
        "api.remote_address": ["60/minute"],
        "api.path./login.remote_address": ["shadow quota 5/day"],
        "api.tenant.plan.free": ["quota 1000/month"],
    }
    assert draft.anonymous == "api.remote_address"
    assert draft.routes == [{"path": "/login", "policy": "api.path./login.remote_address"}]
    assert any("The subject is the value of tenant" in note for note in draft.notes)
    loads(draft.render())


_VALUES = st.sampled_from(["", "/login", "users", "1.2.3.4", "a b:{}", "ü" * 80]) | st.text(max_size=5)
_RULES = st.fixed_dictionaries(
    {
        "unit": st.sampled_from(["second", "MINUTE", "hour", "day", "week", "month", "year", "x"]),
        "requests_per_unit": st.integers(-1, 2**33),
    }
)


@st.composite
def descriptors(draw, depth: int = 3):
    descriptor = {"key": draw(st.sampled_from(["remote_address", "path", "database", "generic_key", "k v"])), "value": draw(_VALUES)}
    if draw(st.booleans()):
        descriptor["rate_limit"] = draw(_RULES)
    if depth and draw(st.booleans()):
        descriptor["descriptors"] = draw(st.lists(descriptors(depth - 1), max_size=3))
    return descriptor


@examples(100)
@given(found=st.lists(descriptors(), max_size=4))
def test_whatever_the_descriptors_the_result_is_a_valid_configuration_or_an_error(tmp_path_factory, found):
    import yaml  # noqa: PLC0415

    file = tmp_path_factory.mktemp("imported") / "api.yaml"
    file.write_text(yaml.safe_dump({"domain": "api", "descriptors": found}), "utf-8")
    draft = envoy_ratelimit.draft_of(file)
    if draft.policies:
        loads(draft.render())
    else:
        with pytest.raises(CannotImport, match="no limit that can be imported"):
            draft.render()


def test_the_command_prints_the_file_and_the_notes_apart(tmp_path):
    file = tmp_path / "api.yaml"
    file.write_text(RATELIMIT)
    printed = CliRunner().invoke(app, ["import", "ratelimit", str(file)])
    assert printed.exit_code == 0
    loads(printed.stdout)
    assert "note: tenant > plan=free: a month is one of the calendar instead of 30 days" in printed.stderr


@pytest.mark.parametrize(
    "content", ["", "[]", "domain: x", "descriptors: [1]", "descriptors: [{key: 1}]", "a: [", "descriptors: [{key: a, rate_limit: 5}]"]
)
def test_a_file_of_another_format_is_refused(tmp_path, content):
    file = tmp_path / "api.yaml"
    file.write_text(content)
    printed = CliRunner().invoke(app, ["import", "ratelimit", str(file)], standalone_mode=False)
    assert printed.exit_code != 0 or isinstance(printed.exception, SystemExit)
    assert "limiter: " in printed.stderr


@pytest.mark.parametrize(
    ("origin", "content", "error"),
    [
        ("nginx", "include a.conf;", "a.conf is nested too deeply, or includes itself"),
        (
            "nginx",
            "limit_req_zone $remote_addr zone=z:1m rate=1r/s; server { limit_req zone=z burst=x; }",
            "burst must be a whole number, not 'x'",
        ),
        ("nginx", "include b.conf;", "b.conf: is not a configuration of nginx"),
        ("ratelimit", "descriptors: &d [{key: a, descriptors: *d}]", "a.conf is nested too deeply, or includes itself"),
        ("ratelimit", "descriptors: [{key: a, descriptors: 5}]", "a: descriptors must be a list, not 5"),
        ("ratelimit", 'descriptors: [{key: "\\e[2J", descriptors: 5}]', r"\x1b[2J: descriptors must be a list, not 5"),
        ("ratelimit", "domain: [x]\ndescriptors: []", "domain must be text, not a list"),
        ("ratelimit", "descriptors: [{key: a, rate_limit: {unit: [x]}}]", "a: unit must be text, not a list"),
        ("ratelimit", "descriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: true}}]", "a: True per day was not imported"),
    ],
)
def test_a_hostile_file_is_refused_with_a_line_of_text(tmp_path, monkeypatch, origin, content, error):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.conf").write_text(content)
    (tmp_path / "b.conf").write_text("root:x:0:0:root:/root:/bin/bash\nsync:x:4:65534:sync user\n")
    result = CliRunner().invoke(app, ["import", origin, "a.conf"])
    assert (result.exit_code, error in result.stderr, type(result.exception)) == (2, True, SystemExit), result.stderr
