"""The registry over HTTP, as the admin listener serves it."""

import hashlib
import json

import pytest
from fastapi import APIRouter

from limiter.api.control.admin import control_app
from limiter.api.control.registry_routes import registry_router
from support.registry import world_of

RAW = "ff_live_rkpxv2hx5drnmvfj4hnwq7k7axw4vzq6"


class Http:
    """`http("POST", "/accounts", {...})` returns the status and the body. It runs on the event loop of the registry's connections."""

    def __init__(self, world) -> None:
        self._world, self._app = world, control_app("0", APIRouter(), [registry_router(world.registry)])
        self.headers = {}

    def __call__(self, method, target, body=None):
        sent = []
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"content-type", b"application/json")],
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
        }
        given = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

        async def receive():
            return {"type": "http.request", "body": given}

        async def send(message):
            sent.append(message)

        self._world(self._app(scope, receive, send))
        self.headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        self.text = b"".join(message.get("body", b"") for message in sent).decode()
        return sent[0]["status"], json.loads(self.text)

    @property
    def documented(self):
        return self._app.openapi()["paths"]


@pytest.fixture
def http(server, prefix):
    with world_of(server, prefix, actor="admin") as world:
        http = Http(world)
        assert http("POST", "/accounts", {"id": "acme", "tier": "standard"})[0] == 201
        yield http


def test_only_the_response_that_issues_a_key_contains_it(http):
    status, issued = http("POST", "/accounts/acme/keys", {"name": "ci", "scopes": ["asset:read"]})
    assert (status, http.headers["cache-control"]) == (201, "no-store")
    assert issued["key_prefix"] == issued["key"][:12]
    assert "key" not in http("GET", f"/accounts/acme/keys/{issued['id']}")[1]
    assert http("POST", "/keys/find", {"key": issued["key"]})[1]["id"] == issued["id"]


def test_a_key_is_changed_rotated_and_revoked(http):
    _, issued = http("POST", "/accounts/acme/keys", {"environment": "test", "addresses": ["203.0.113.0/24"]})
    path = f"/accounts/acme/keys/{issued['id']}"
    _, changed = http("PATCH", path, {"name": "deploy", "lifetime": None})
    assert (changed["name"], changed["expires"], changed["addresses"]) == ("deploy", None, ["203.0.113.0/24"])
    status, rotated = http("POST", f"{path}/rotate", {"overlap": 259200})
    assert (status, rotated["key"][:8]) == (201, "ff_test_")
    assert http("GET", path)[1]["state"] == "rotated"
    assert http("POST", f"/accounts/acme/keys/{rotated['id']}/revoke")[1]["state"] == "revoked"
    assert [each["state"] for each in http("GET", "/accounts/acme/keys")[1]["keys"]] == ["rotated", "revoked"]


def test_an_account_is_changed_suspended_activated_and_deleted(http):
    assert http("PATCH", "/accounts/acme", {"tier": "pro"})[1]["tier"] == "pro"
    assert http("POST", "/accounts/acme/suspend")[1]["state"] == "suspended"
    assert http("POST", "/accounts/acme/activate")[1]["state"] == "active"
    assert [each["id"] for each in http("GET", "/accounts")[1]["accounts"]] == ["acme"]
    assert http("DELETE", "/accounts/acme") == (200, {"deleted": "acme"})


def test_lists_are_paged(http):
    for _ in range(3):
        http("POST", "/accounts/acme/keys", {})
    _, page = http("GET", "/accounts/acme/keys?count=2")
    assert len(page["keys"]) == 2
    assert len(http("GET", f"/accounts/acme/keys?cursor={page['cursor']}")[1]["keys"]) == 1
    _, page = http("GET", "/audit?count=2")
    assert len(page["entries"]) == 2
    assert http("GET", f"/audit?cursor={page['cursor']}&account=acme")[1]["entries"][-1]["action"] == "accounts.create"


def test_a_key_is_imported_raw_or_by_its_digest(http):
    assert http("POST", "/accounts/acme/keys/import", {"key": "sk-0123456789abcdef"})[1]["key_prefix"] == "sk-012"
    digest = hashlib.sha256(b"another-key").hexdigest()
    assert http("POST", "/accounts/acme/keys/import", {"sha256": digest})[0] == 201
    assert http("POST", "/keys/find", {"key": "another-key"})[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("GET", "/accounts/nobody", None, 404, "account 'nobody' does not exist"),
        ("GET", "/accounts/acme/keys/" + "0" * 20, None, 404, "no key"),
        ("GET", f"/accounts/acme/keys/{RAW}", None, 422, "key id must be"),
        ("POST", "/accounts", {"id": "acme", "tier": "pro"}, 409, "already"),
        ("POST", "/accounts", {"id": "with blank", "tier": "pro"}, 422, "with blank"),
        ("POST", "/accounts/acme/keys", {"addresses": ["203.0.113.0/33"]}, 422, "203.0.113.0/33"),
        ("POST", "/accounts/acme/keys", {"scope": ["asset:read"]}, 422, "scope"),
        ("POST", "/accounts/acme/keys", {"scopes": "asset:read"}, 422, "scopes"),
        ("POST", "/accounts/acme/keys/import", {}, 422, "key or sha256"),
        ("POST", "/accounts/acme/keys/import", {"key": [RAW]}, 422, "body.key"),
        ("POST", "/accounts/acme/keys/import", {"key": RAW[:-1]}, 422, "wrong checksum"),
        (
            "POST",
            "/accounts/acme/keys/import",
            {"key": RAW[:15]},
            422,
            "16 or more characters, not 15",
        ),
        ("POST", "/accounts/acme/keys/import", {"kee": RAW}, 422, "body.kee"),
        ("POST", "/accounts/acme/keys/import", b'{"key": "' + RAW.encode(), 422, "body"),
        ("POST", "/accounts/acme/keys", b"[" * 60_000, 400, "body"),
        ("GET", "/accounts?count=0", None, 422, "count must be a whole number from 1 to 1,000, not 0"),
        ("GET", "/audit?cursor=x", None, 422, "cursor must be the one that the previous page returned"),
    ],
)
def test_an_error_names_the_mistake_and_repeats_no_key(http, method, path, body, status, detail):
    answered, problem = http(method, path, body)
    assert answered == problem["status"] == status
    assert http.headers["content-type"] == "application/problem+json"
    assert detail in problem["detail"]
    assert RAW[:-1] not in http.text


def test_an_account_with_keys_is_deleted_only_with_its_keys(http):
    http("POST", "/accounts/acme/keys", {})
    assert http("DELETE", "/accounts/acme")[0] == 409
    assert http("DELETE", "/accounts/acme?with_keys=true")[0] == 200


def test_the_openapi_document_has_every_operation(http):
    operations = {(method, path) for path, methods in http.documented.items() for method in methods}
    assert len(operations) == 16
