"""The commands `limiter keys`, `accounts` and `audit`."""

import hashlib
import json

import pytest
import typer
from typer.testing import CliRunner

from limiter.api.cli.account_commands import accounts_app
from limiter.api.cli.audit_command import audit_app
from limiter.api.cli.key_commands import keys_app

app = typer.Typer()
app.add_typer(keys_app, name="keys")
app.add_typer(accounts_app, name="accounts")
app.add_typer(audit_app)


@pytest.fixture
def limiter(server, prefix):
    def run(*arguments, given=None):
        return CliRunner().invoke(app, [*arguments, "--redis", server.url, "--prefix", prefix], input=given)

    def run_json(*arguments, given=None):
        result = run(*arguments, "--json", given=given)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    run.json = run_json
    run_json("accounts", "create", "acme", "standard")
    return run


def test_a_key_is_printed_once_and_later_only_its_prefix(limiter):
    result = limiter("keys", "issue", "acme", "--name", "ci", "--scope", "asset:read")
    raw = next(line.split()[1] for line in result.stdout.splitlines() if line.startswith("key "))
    assert raw.startswith("ff_live_")
    assert "not shown again" in result.stderr
    listed = limiter("keys", "list", "acme").stdout
    assert raw[:12] in listed
    assert raw not in listed
    assert limiter.json("keys", "find", given=f"{raw}\n")["name"] == "ci"


def test_the_life_of_a_key(limiter):
    issued = limiter.json("keys", "issue", "acme", "--env", "test", "--address", "203.0.113.0/24", "--limit", "100/minute")
    assert issued["key"].startswith("ff_test_")
    assert limiter.json("keys", "rename", "acme", issued["id"], "deploy")["name"] == "deploy"
    changed = limiter.json("keys", "set", "acme", issued["id"], "--scope", "a:b", "--clear", "addresses", "--expires", "never")
    assert (changed["scopes"], changed["addresses"], changed["expires"], changed["limits"]) == (["a:b"], [], None, ["100/minute"])
    rotated = limiter.json("keys", "rotate", "acme", issued["id"], "--overlap", "72h")
    assert limiter.json("keys", "show", "acme", issued["id"])["state"] == "rotated"
    assert limiter.json("keys", "revoke", "acme", rotated["id"])["state"] == "revoked"
    assert limiter.json("keys", "tidy", "acme", "--older-than", "0") == {"removed": 1}


def test_a_key_is_imported_from_standard_input_or_by_its_digest(limiter):
    first = limiter.json("keys", "import", "acme", given="sk-0123456789abcdef\n")
    assert first["key_prefix"] == "sk-012"
    digest = hashlib.sha256(b"another-key").hexdigest()
    assert limiter.json("keys", "import", "acme", "--digest", digest)["key_prefix"] == ""
    assert limiter.json("keys", "find", given="another-key")["account"] == "acme"


def test_a_key_that_is_not_given_is_an_error(limiter):
    for command in (["find"], ["import", "acme"]):
        ended = limiter("keys", *command, given="\n")
        assert ended.exit_code == 2
        assert ended.stderr == "limiter: the key must be the first line of standard input, which is empty\n"


def test_the_life_of_an_account(limiter):
    assert limiter.json("accounts", "set", "acme", "--tier", "pro", "--policy", "gold")["policy"] == "gold"
    assert limiter.json("accounts", "set", "acme", "--clear", "policy", "--limit", "9/minute")["limits"] == ["9/minute"]
    assert limiter.json("accounts", "suspend", "acme")["state"] == "suspended"
    assert limiter.json("accounts", "activate", "acme")["state"] == "active"
    assert [each["id"] for each in limiter.json("accounts", "list")["accounts"]] == ["acme"]
    assert limiter.json("accounts", "delete", "acme") == {"deleted": "acme"}


def test_the_audit_shows_who_did_what(limiter):
    limiter.json("keys", "issue", "acme")
    entries = limiter.json("audit")["entries"]
    assert [each["action"] for each in entries] == ["keys.issue", "accounts.create"]
    assert entries[0]["actor"].startswith("cli:")
    assert limiter.json("audit", "--refused")["entries"] == []


def test_a_list_prints_the_cursor_of_the_next_page(limiter):
    for _ in range(3):
        limiter.json("keys", "issue", "acme")
    page = limiter("keys", "list", "acme", "--count", "2")
    cursor = page.stderr.split("--cursor ")[1].split()[0]
    assert len(limiter.json("keys", "list", "acme", "--cursor", cursor)["keys"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("keys", "list", "nobody"), 3, "account 'nobody' does not exist"),
        (("keys", "show", "acme", "0" * 20), 3, "no key"),
        (("keys", "issue", "acme", "--address", "203.0.113.0/33"), 2, "203.0.113.0/33"),
        (("keys", "issue", "acme", "--scope", "a scope"), 2, "'a scope'"),
        (("keys", "issue", "acme", "--expires", "soon"), 2, "'soon'"),
        (("keys", "issue", "acme", "--env", "prod"), 2, "'prod'"),
        (("keys", "rotate", "acme", "ff_live_rkpxv2hx5drnmvfj4hnwq7k7axw4vzq6"), 2, "key id must be"),
        (("keys", "set", "acme", "0" * 20, "--clear", "everything"), 2, "everything"),
        (("accounts", "create", "acme", "pro"), 4, "already"),
    ],
)
def test_errors_name_the_problem_and_have_their_exit_code(limiter, arguments, code, said):
    result = limiter(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert "ff_live_rkpx" not in result.output


def test_an_account_with_keys_is_deleted_only_on_request(limiter):
    limiter.json("keys", "issue", "acme")
    assert limiter("accounts", "delete", "acme").exit_code == 4
    assert limiter("accounts", "delete", "acme", "--with-keys").exit_code == 0


def test_without_redis_the_error_suggests_what_to_do(tmp_path):
    result = CliRunner().invoke(app, ["accounts", "list", "--data", str(tmp_path)], env={"LIMITER_REDIS_URL": ""})
    assert result.exit_code == 1
    assert "is `limiter serve` running?" in result.stderr


def test_an_invalid_url_is_not_shown(prefix):
    result = CliRunner().invoke(app, ["accounts", "list", "--redis", "rediss//:secret@host", "--prefix", prefix])
    assert result.exit_code == 2
    assert "secret" not in result.output


@pytest.mark.parametrize(
    ("asked", "name", "said"),
    [
        (["audit", "--refused"], "entries", "There are no refused requests yet."),
        (["audit", "--account", "globex"], "entries", "There are no changes of the account globex yet."),
        (["keys", "list", "acme"], "keys", "The account acme has no keys yet. Issue one: limiter keys issue acme"),
        (["accounts", "list"], "accounts", "There are no accounts yet. Create one: limiter accounts create ACCOUNT TIER"),
    ],
)
def test_an_empty_list_says_so_on_standard_error_and_json_stays_valid(limiter, asked, name, said):
    if asked[0] == "accounts":
        limiter("accounts", "delete", "acme")
    plain, as_json = limiter(*asked), limiter(*asked, "--json")
    assert (plain.exit_code, plain.stdout, said in plain.stderr) == (0, "", True), plain.stderr
    assert (json.loads(as_json.stdout), as_json.stderr) == ({name: [], "cursor": ""}, "")


def test_a_name_that_no_configuration_was_there_to_check_is_a_note(limiter, tmp_path):
    unchecked = limiter("accounts", "create", "globex", "fere")
    assert unchecked.exit_code == 0
    assert "Not checked: tier fere. With --config or LIMITER_CONFIG" in unchecked.stderr
    file = tmp_path / "limiter.yaml"
    file.write_text("policies: { p: { limits: [5/minute] } }\ntiers: { free: { key: p } }\n")
    refused = limiter("accounts", "set", "globex", "--tier", "fere", "--config", str(file))
    assert (refused.exit_code, "(free), not 'fere'" in refused.stderr) == (2, True)
    assert limiter("accounts", "set", "globex", "--tier", "free", "--config", str(file)).stderr == ""


def test_a_duration_that_is_not_one_is_an_error_with_the_accepted_forms(limiter):
    result = limiter("keys", "issue", "acme", "--expires", "soon")
    assert (result.exit_code, "expiry must be a duration such as 72h or 90d, 0, or never, not 'soon'" in result.stderr) == (2, True)
