"""Clients that common generators make from the OpenAPI documents of a running sidecar compile in strict mode, and their calls succeed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.servers.sidecar import TOKEN, digest, sidecar

CONFIG = f"""
policies:
  standard: {{ limits: [5/minute], failure: open }}
tiers:
  standard: {{ key: standard }}
redis: {{ prefix: generated-clients }}
keys:
  - {{ name: known, digest: "sha256:{digest("known-key")}", tier: standard }}
"""

PYTHON_PROGRAM = """
import sys

import control, front
from control.api.accounts import create_account, list_accounts
from control.models import AccountPage, AccountView, NewAccount
from front.api.decisions import take
from front.api.gateways import authorize
from front.models import DecisionBody, SingleRequest, SingleRequestPolicy

admin_url, token, front_url, key = sys.argv[1:]

admin = control.AuthenticatedClient(admin_url, token)
created = create_account.sync(client=admin, body=NewAccount(id="python", tier="standard"))
assert isinstance(created, AccountView), created
page = list_accounts.sync(client=admin)
assert isinstance(page, AccountPage), page
assert created in page.accounts

decision = take.sync(client=front.Client(front_url), body=SingleRequest(policy=SingleRequestPolicy("standard"), subject="python", cost=2))
assert isinstance(decision, DecisionBody), decision
assert decision.limits[0].remaining == 3

bearer = front.AuthenticatedClient(front_url, key)
x_api_key = front.AuthenticatedClient(front_url, key, prefix="", auth_header_name="X-API-Key")
assert [authorize.sync_detailed(client=client).status_code for client in (bearer, x_api_key)] == [200, 200]
"""

TYPESCRIPT_PROGRAM = """
import createClient from "openapi-fetch";
import type { paths as ControlPaths } from "./control.js";
import type { paths as FrontPaths } from "./front.js";

declare const process: { argv: string[] };
const [adminUrl, token, frontUrl, key] = process.argv.slice(2);

function check(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what));
}

const admin = createClient<ControlPaths>({ baseUrl: adminUrl, headers: { Authorization: `Bearer ${token}` } });
const created = await admin.POST("/accounts", { body: { id: "typescript", tier: "standard" } });
check(created.data !== undefined, created.error);
const page = await admin.GET("/accounts", { params: { query: { count: 10 } } });
check(page.data !== undefined, page.error);
check(page.data.accounts.some((account) => account.id === "typescript"), page.data);

const front = createClient<FrontPaths>({ baseUrl: frontUrl });
const decision = await front.POST("/v1/take", { body: { policy: "standard", subject: "typescript", cost: 2 } });
check(decision.data !== undefined && "limits" in decision.data, decision.error);
check(decision.data.limits[0]?.remaining === 3, decision.data);

const authorized = await front.GET("/authorize", { headers: { "X-API-Key": key } });
check(authorized.response.status === 200, authorized.error);
"""

TYPESCRIPT_OPTIONS = {"strict": True, "target": "es2022", "module": "nodenext", "lib": ["es2022", "dom"], "types": []}
NPM_PACKAGES = ["typescript@5", "openapi-typescript@7", "openapi-fetch@0"]


@pytest.fixture(scope="module")
def running(server, tmp_path_factory):
    with sidecar(tmp_path_factory.mktemp("generated-clients"), CONFIG, redis=server.url) as running:
        yield running


@pytest.fixture
def folder(running, tmp_path):
    """A project with both documents."""
    for name, path in (("control", "/openapi.json"), ("front", "/front/openapi.json")):
        (tmp_path / f"{name}.json").write_bytes(running.manage(path).body)
    return tmp_path


@pytest.fixture
def arguments(running):
    return [running.admin, TOKEN, running.front, "known-key"]


@pytest.fixture(scope="module")
def node_modules():
    """Installed once beside the Python packages of the environment."""
    installed = Path(sys.prefix, "npm")
    installed.mkdir(exist_ok=True)
    run("npm", "install", "--prefix", installed, "--prefer-offline", "--no-audit", "--no-fund", *NPM_PACKAGES, cwd=installed)
    return installed / "node_modules"


def run(*command, cwd):
    done = subprocess.run(["/usr/bin/env", *command], cwd=cwd, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def test_a_python_client_compiles_and_passes_calls(folder, arguments):
    (folder / "quiet.yaml").write_text("post_hooks: []")
    for name in ("control", "front"):
        options = ["--meta", "none", "--output-path", name, "--config", "quiet.yaml", "--fail-on-warning"]
        run(sys.executable, "-m", "openapi_python_client", "generate", "--path", f"{name}.json", *options, cwd=folder)
    (folder / "program.py").write_text(PYTHON_PROGRAM)
    # The cache spares later runs the libraries that the clients import.
    run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", Path(sys.prefix, "mypy"), "control", "front", "program.py", cwd=folder)
    run(sys.executable, "program.py", *arguments, cwd=folder)


def test_a_typescript_client_compiles_and_passes_calls(folder, arguments, node_modules):
    (folder / "node_modules").symlink_to(node_modules)
    (folder / "package.json").write_text('{"type": "module"}')
    for name in ("control", "front"):
        run("node_modules/.bin/openapi-typescript", f"{name}.json", "--output", f"{name}.d.ts", cwd=folder)
    (folder / "program.ts").write_text(TYPESCRIPT_PROGRAM)
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": TYPESCRIPT_OPTIONS, "files": ["program.ts"]}))
    run("node_modules/.bin/tsc", cwd=folder)
    run("node", "program.js", *arguments, cwd=folder)
