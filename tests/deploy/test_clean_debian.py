"""The files for containers and hosts work: their build and commands run in clean Debian trees, and schemas accept the rest.

What needs a Docker engine, a cluster or systemd as the first process is not run here; docs/deployment.md says so.
"""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from limiter.api.config.loader import loads
from support.container import container, network, prepare
from support.image import Image, build, copy_tree, debian_tree, run_in
from support.pages import ROOT, blocks
from support.waiting import eventually

COMPOSE = ROOT / "deploy/compose"
MANIFESTS = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("debootstrap") is None, reason="builds a Debian tree: needs root and debootstrap"
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return debian_tree(tmp_path_factory.mktemp("debian") / "tree", "trixie")


@pytest.fixture(scope="module")
def image(tree, tmp_path_factory) -> Image:
    return build(ROOT, tree, tmp_path_factory.mktemp("image"))


@pytest.fixture
def services() -> dict:
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]


@needs_root
@pytest.mark.timeout(900)
def test_the_image_is_small_and_its_user_is_not_root(image, tree):
    base = Image(tree).megabytes
    assert image.user == "10001"
    assert image.megabytes - base < 110


def test_nothing_is_copied_into_the_image_that_dockerignore_keeps_out():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for names in copied for name in names} == allowed


@needs_root
def test_the_services_of_compose_run_on_read_only_roots_and_enforce_the_limit(image, services, tmp_path):
    """Redis is the one of this machine, with the command of the file."""
    api, sidecar = services["api"], services["limiter"]
    prepare(image, hosts=list(services), files=["/srv/api.py", "/etc/limiter/limiter.yaml"])
    environment = {**sidecar["environment"], "LIMITER_ADMIN_TOKEN": "0" * 32}
    serve = [*image.entrypoint, *sidecar["command"]]
    log = tmp_path / "limiter.log"
    with (
        network() as on,
        _redis(on, services["redis"]["command"], tmp_path),
        container(image, on, api["entrypoint"], volumes=_volumes(api), log=tmp_path / "api.log", grace=0),
        container(image, on, serve, environment=environment, volumes=_volumes(sidecar), log=log) as running,
    ):
        ask = [*on, "curl", "-s", "-w", "%{http_code}", "-H", "x-api-key: quickstart-key", "http://127.0.0.1:8080/hello"]

        def answer() -> str:
            return subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=False).stdout

        eventually(lambda: answer() == "hello from /hello\n200" or running.poll() is not None, "the first answer", within=60)
        answers = [answer() for _ in range(10)]
        assert [text[-3:] for text in answers] == ["200"] * 9 + ["429"], log.read_text()
        subprocess.run([*on, "chroot", image.root, *image.healthcheck], check=True)
    assert running.returncode == 0, log.read_text()


@contextmanager
def _redis(on: list[str], command: list[str], folder: Path) -> Iterator[None]:
    with subprocess.Popen([*on, *command, "--dir", folder], stdout=subprocess.DEVNULL) as running:
        try:
            yield
        finally:
            running.terminate()


README = (ROOT / "README.md").read_text()
PACKAGES = "apt-get update -qq && apt-get install -qq --no-install-recommends python3-venv redis-server curl"
# A minute of a slow machine.
MACHINE_MINUTE_S = 60


@contextmanager
def machine_time(minutes: float) -> Iterator[None]:
    """Asserts how long the block keeps a CPU busy, whatever else the machine does."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    yield
    taken = spent() - before
    print(f"{taken:.0f} s of CPU time")  # noqa: T201 - `pytest -rP` shows it
    assert taken < minutes * MACHINE_MINUTE_S


def _checkout(root: Path) -> None:
    """The package in the tree: its name is not in a registry yet."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "api", "lua", "limiter", "examples"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / "src" / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (root / "src").mkdir(exist_ok=True)
            shutil.copy(ROOT / name, root / "src" / name)


def _in_a_venv(script: str) -> str:
    return f"[ -e /venv ] || python3 -m venv /venv\n. /venv/bin/activate\n{script}"


@needs_root
@pytest.mark.timeout(900)
def test_from_the_readme_to_a_limited_fastapi_application_in_two_minutes(tree, tmp_path):
    """In a clean Debian, with the commands of the README."""
    install, run = next(code for code in blocks(README, "sh") if "uvicorn app:app" in code).split("\n", 1)
    with machine_time(minutes=2):
        root = copy_tree(tree, tmp_path / "root")
        _checkout(root)
        (root / "app.py").write_text(next(code for code in blocks(README, "python") if "limit_app" in code))
        run_in(root, f"{PACKAGES}\n{_in_a_venv(install.replace('limitgate', '/src'))}")
        with network() as on:
            printed = run_in(root, _in_a_venv(run), on=on)
    statuses = re.findall(r"(?m)^\d{3}$", printed)
    assert statuses == ["200"] * 10 + ["429"]
    assert re.search(r"(?im)^retry-after: \d+", printed)


@needs_root
@pytest.mark.timeout(900)
def test_from_the_readme_to_nginx_with_a_sidecar_and_an_api_in_five_minutes(tree, tmp_path):
    """In a clean Debian, with the commands of the example's README."""
    example = ROOT / "examples/gateways/nginx"
    run, ask = blocks((example / "README.md").read_text(), "sh")
    with machine_time(minutes=5):
        root = copy_tree(tree, tmp_path / "root")
        _checkout(root)
        run_in(root, f"{PACKAGES} nginx-light\n{_in_a_venv('pip install /src[sidecar]')}")
        ready = "curl -s http://127.0.0.1:8000/ | grep -qi unauthorized"
        again = ask.replace("curl -i", "curl -s -o body -w '%{http_code}\\n'")
        with network() as on:
            script = f"{run.rstrip()} &\nuntil {ready}; do sleep 0.2; done\nfor i in $(seq 100); do {again.strip()}; done\n{ask}"
            printed = run_in(root, _in_a_venv(script), folder="/src/examples/gateways/nginx", on=on)
    statuses = re.findall(r"(?m)^\d{3}$", printed)
    assert statuses == ["200"] * 100
    assert "HTTP/1.1 429" in printed
    assert "quota-exceeded" in printed


def _volumes(service: dict) -> dict[Path, str]:
    pairs = [volume.split(":")[:2] for volume in service["volumes"]]
    return {(COMPOSE / source).resolve(): target for source, target in pairs}


def test_the_compose_file_follows_its_schema(services):
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(yaml.safe_load((COMPOSE / "compose.yaml").read_text()), schema)
    assert services["redis"]["command"][-1] == "noeviction"
    assert loads((COMPOSE / "limiter.yaml").read_text()).warnings == ()


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_the_manifests_follow_the_schemas_of_kubernetes(manifest):
    for document in yaml.safe_load_all(manifest.read_text()):
        kubernetes_validate.validate(document, "1.33", strict=True)
        if document["kind"] == "ConfigMap":
            assert loads(document["data"]["limiter.yaml"]).warnings == ()


def test_the_api_beside_a_sidecar_stays_reachable():
    """While Redis is away, as the policies fail open; while a pod stops; and before Kubernetes 1.32, which finds no named port."""
    of_kind = {each["kind"]: each for each in yaml.safe_load_all((ROOT / "deploy/kubernetes/sidecar.yaml").read_text())}
    pod = of_kind["Deployment"]["spec"]["template"]["spec"]
    (limiter,), (api,) = pod["initContainers"], pod["containers"]
    assert "failure: open" in of_kind["ConfigMap"]["data"]["limiter.yaml"]
    assert limiter["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert api["lifecycle"]["preStop"] == limiter["lifecycle"]["preStop"]
    (port,), (rule,) = of_kind["Service"]["spec"]["ports"], of_kind["NetworkPolicy"]["spec"]["ingress"]
    assert [port["targetPort"]] == [each["port"] for each in rule["ports"]] == [limiter["ports"][0]["containerPort"]]


def test_the_dockerfile_has_no_lint():
    """Versions of Debian packages are not pinned, because the archive keeps only the newest one."""
    subprocess.run([Path(sys.executable).with_name("hadolint"), "--ignore", "DL3008", ROOT / "Dockerfile"], check=True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_valid_and_confined(tmp_path):
    unit = tmp_path / "limiter.service"
    command = Path(sys.executable).with_name("limiter")
    unit.write_text((ROOT / "deploy/systemd/limiter.service").read_text().replace("/opt/limiter/bin/limiter", str(command)))
    verified = subprocess.run(["systemd-analyze", "verify", unit], stderr=subprocess.PIPE, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=20", unit], stdout=subprocess.DEVNULL, check=True)
