"""Settings from the environment: documented, with a clear precedence, and with warnings about what is misspelled."""

import hashlib
import hmac
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command
from typer.testing import CliRunner

from limiter.api.cli.main import app
from limiter.api.cli.variables import drop_service_links, variables_of, warnings_about
from limiter.api.command_errors import Misused
from limiter.api.config.loader import loads
from limiter.api.settings.secret_values import SECRETS, secret
from support.servers.sidecar import TOKEN, ask, sidecar
from support.waiting import eventually

PAGE = (Path(__file__).parents[3] / "docs/configuration.md").read_text("utf-8").partition("\n## Options and environment\n")[2]
OPTIONS = {option.envvar: option for option in get_command(app).commands["serve"].params if option.envvar}
ROWS = {row[0]: row[1:] for row in re.findall(r"(?m)^\| `(LIMITER_\w+)` \| `(--[\w-]+)` \| (.*?) ?\| (.*) \|$", PAGE)}
SECRET_ROWS = dict(re.findall(r"(?m)^\| `(LIMITER_\w+)` \| `(LIMITER_\w+)` \|", PAGE))
CONFIG = "policies: {{ standard: {{ limits: [1000/minute] }} }}\nidentify: {{ anonymous: standard }}\nredis: {{ prefix: {prefix} }}\n"


def test_every_option_of_serve_has_a_variable():
    assert [option.name for option in get_command(app).commands["serve"].params if not option.envvar] == []


def test_the_table_lists_every_variable_with_its_option_and_default():
    assert set(ROWS) == set(OPTIONS)
    for variable, (option, field, default) in ROWS.items():
        assert option in OPTIONS[variable].opts, variable
        of_code = OPTIONS[variable].default
        if of_code is not None and not callable(of_code):
            assert default == f"`{str(of_code).lower()}`", variable
        if field:
            section, name = field.strip("`").split(".")
            text = "policies: { p: { limits: [1/minute] } }\n"
            assert loads(f"{text}{section}: {{ {name}: {default.strip('`')} }}" if default.startswith("`") else text)


def test_the_table_of_secrets_is_complete():
    assert {name: f"{name}_FILE" for name in SECRETS} == SECRET_ROWS


def test_the_page_names_every_variable_that_the_commands_know():
    assert variables_of(app) == {name for name in variables_of(app) if f"`{name}`" in PAGE}


def test_the_help_shows_the_variables():
    helped = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).stdout
    assert [name for name in OPTIONS if name not in helped] == []


@pytest.mark.parametrize(
    ("name", "suggested"),
    [("LIMITER_PROT", "LIMITER_PORT"), ("LIMITER_WORKER", "LIMITER_WORKERS"), ("LIMITER_PEPER_FILE", "LIMITER_PEPPER_FILE")],
)
def test_an_unknown_variable_is_a_warning_that_names_the_nearest(name, suggested):
    (warning,) = warnings_about({name: "1", "LIMITER_PORT": "1", "PATH": "/bin"}, variables_of(app))
    assert warning == f"unknown variable {name}: did you mean {suggested}?"


# What Kubernetes sets in each pod beside the services `limiter` and `limiter-admin`.
SERVICE_LINKS = {
    "LIMITER_SERVICE_HOST": "10.96.14.2",
    "LIMITER_SERVICE_PORT": "8080",
    "LIMITER_SERVICE_PORT_HTTP": "8080",
    "LIMITER_PORT": "tcp://10.96.14.2:8080",
    "LIMITER_PORT_8080_TCP": "tcp://10.96.14.2:8080",
    "LIMITER_PORT_8080_TCP_PROTO": "tcp",
    "LIMITER_PORT_8080_TCP_PORT": "8080",
    "LIMITER_PORT_8080_TCP_ADDR": "10.96.14.2",
    "LIMITER_ADMIN_SERVICE_HOST": "10.96.14.3",
    "LIMITER_ADMIN_PORT": "tcp://10.96.14.3:8081",
    "LIMITER_ADMIN_PORT_8081_TCP_ADDR": "10.96.14.3",
}


def test_variables_of_kubernetes_services_are_dropped_and_settings_stay():
    settings = {"LIMITER_PORT": "9000", "LIMITER_UPSTREAM": "http://127.0.0.1:9000", "SERVICE_HOST": "x"}
    environment = dict(SERVICE_LINKS)
    drop_service_links(environment)
    assert environment == {}
    drop_service_links(settings)
    assert settings == {"LIMITER_PORT": "9000", "LIMITER_UPSTREAM": "http://127.0.0.1:9000", "SERVICE_HOST": "x"}


@given(value=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1), end=st.sampled_from(["", "\n", "\r\n"]))
def test_a_secret_is_the_same_from_a_variable_and_from_a_file(tmp_path_factory, value, end):
    file = tmp_path_factory.getbasetemp() / "secret"
    file.write_bytes(f"{value}{end}".encode())
    assert secret("LIMITER_PEPPER", {"LIMITER_PEPPER_FILE": str(file)}) == secret("LIMITER_PEPPER", {"LIMITER_PEPPER": value}) == value


def test_an_empty_variable_is_not_set(tmp_path):
    (tmp_path / "file").write_text("value\n")
    assert secret("LIMITER_PEPPER", {"LIMITER_PEPPER": "", "LIMITER_PEPPER_FILE": ""}) is None
    assert secret("LIMITER_PEPPER", {"LIMITER_PEPPER": "", "LIMITER_PEPPER_FILE": str(tmp_path / "file")}) == "value"


def test_a_secret_in_both_places_or_in_a_bad_file_is_an_error_without_its_value(tmp_path):
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(Misused, match="LIMITER_PEPPER and LIMITER_PEPPER_FILE must not both be set: unset one of them"):
        secret("LIMITER_PEPPER", {"LIMITER_PEPPER": "secret", "LIMITER_PEPPER_FILE": "file"})
    with pytest.raises(Misused, match=r"LIMITER_PEPPER_FILE .*/empty must not be empty"):
        secret("LIMITER_PEPPER", {"LIMITER_PEPPER_FILE": str(tmp_path / "empty")})
    with pytest.raises(Misused, match="LIMITER_PEPPER_FILE nowhere cannot be read: No such file"):
        secret("LIMITER_PEPPER", {"LIMITER_PEPPER_FILE": "nowhere"})


def test_a_sidecar_can_be_set_up_by_the_environment_alone(tmp_path, server, prefix):
    """With the variables of Kubernetes services, a secret in a file, a misspelled variable and empty ones."""
    file, token = tmp_path / "from-environment.yaml", tmp_path / "token"
    file.write_text(CONFIG.format(prefix="of-the-file"))
    token.write_text(f"{TOKEN}\n")
    (tmp_path / "redis-url").write_text(f"{server.url}\n")
    settings = {
        "LIMITER_CONFIG": str(file),
        "LIMITER_REDIS_URL_FILE": str(tmp_path / "redis-url"),
        "LIMITER_PREFIX": prefix,
        "LIMITER_ADMIN_TOKEN": "",
        "LIMITER_ADMIN_TOKEN_FILE": str(token),
        "LIMITER_WORKERS": "2",
        "LIMITER_ACCESS_LOG": "true",
        "LIMITER_LOG_FORMAT": "",
        "LIMITER_WOKERS": "3",
        "LIMITER_ALLOWED_HOSTS": "limits.example limits",
    }
    links = {name: value for name, value in SERVICE_LINKS.items() if name != "LIMITER_WORKERS"}
    with sidecar(tmp_path, env={**links, **settings}) as running:
        assert (running.started["workers"], running.started["redis"]["where"]) == (2, server.url)
        assert running.started["config"]["file"] == str(file)
        assert running.ask().status == 200
        assert running.manage("/policies").status == 200
        assert ask(running.admin, "/healthz", headers={"Host": "limits"}).status == 200
        assert [line["event"] for line in running.log if "unknown variable" in line["event"]] == [
            "unknown variable LIMITER_WOKERS: did you mean LIMITER_WORKERS?"
        ]
        eventually(lambda: [line for line in running.log if line["event"] == "request"], "the access log")
    with server.client() as client:
        assert not list(client.scan_iter("of-the-file:*"))
        assert list(client.scan_iter(f"{prefix}:*"))


def test_an_option_takes_precedence_over_its_variable(tmp_path, server, prefix):
    env = {"LIMITER_CONFIG": "nowhere.yaml", "LIMITER_REDIS_URL_FILE": "nowhere", "LIMITER_WORKERS": "7", "LIMITER_SHUTDOWN_DELAY": "1h"}
    options = ["--workers", "1", "--shutdown-delay", "0"]
    with sidecar(tmp_path, CONFIG.format(prefix=prefix), *options, redis=server.url, env=env) as running:
        assert running.started["workers"] == 1
        assert running.stop() == 0


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LIMITER_PORT", "eighty", "LIMITER_PORT"),
        ("LIMITER_WORKERS", "0", "LIMITER_WORKERS"),
        ("LIMITER_DRAIN_TIME", "soon", "must be a duration from 0s to 1h, such as 10s, not 'soon'"),
        ("LIMITER_DRAIN_TIME", "2h", "must be a duration from 0s to 1h, such as 10s, not '2h'"),
        ("LIMITER_LOG_FORMAT", "xml", "xml"),
        ("LIMITER_ACCESS_LOG", "perhaps", "perhaps"),
        ("LIMITER_PREFIX", "a b", "prefix must be 1 to 64"),
    ],
)
def test_an_invalid_value_is_an_error(variable, value, said):
    ended = CliRunner().invoke(app, ["serve", "--config", "nowhere"], env={variable: value, "COLUMNS": "500"})
    assert (ended.exit_code, said in ended.stderr) == (2, True), ended.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("LIMITER_KEY_PREFIX", "A", "key prefix must be"), ("LIMITER_PEPPER_FILE", "nowhere", "LIMITER_PEPPER_FILE nowhere cannot be read")],
)
def test_an_invalid_value_that_the_start_finds_is_an_error(tmp_path, variable, value, said):
    command = [sys.executable, "-P", "-m", "limiter.api.cli.main", "serve", "--port", "0", "--admin-port", "0", "--data", tmp_path]
    env = {**os.environ, variable: value, "LIMITER_REDIS_URL": "redis://127.0.0.1:1"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=60)
    assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr


def test_an_option_without_a_variable_is_no_variable():
    other = typer.Typer()
    other.command()(lambda: None)
    assert variables_of(other) == {*SECRETS, *(f"{name}_FILE" for name in SECRETS)}


def test_the_files_of_secrets_are_read_without_a_warning(tmp_path, server, prefix):
    """The pepper makes the digest of the key in the configuration file; the other secret signs for upstream."""
    files = {name: tmp_path / name for name in ("LIMITER_PEPPER", "LIMITER_CALLER_SECRET")}
    for file in files.values():
        file.write_text("a secret of enough bytes".replace(" ", "-") + "\n")
    digest = hmac.digest(b"a-secret-of-enough-bytes", hashlib.sha256(b"key-1").digest(), "sha256").hex()
    config = CONFIG.format(prefix=prefix) + (
        "tiers: { free: { key: standard } }\n"
        f"keys: [{{ name: one, digest: 'hmac-sha256:{digest}', tier: free }}]\n"
        "caller_headers: { include: [key], sign: true }\n"
    )
    environment = {f"{name}_FILE": str(file) for name, file in files.items()}
    with sidecar(tmp_path, config, redis=server.url, env=environment) as running:
        answer = running.ask(key="key-1")
        assert answer.status == 200
        assert answer.headers["x-limiter-key"] == "one"
        assert [line for line in running.log if "variable" in line["event"]] == []
