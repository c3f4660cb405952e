"""The published package is complete, and does not conflict with packages of its users."""

import json
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"limiter": "limiter", "lua": "limiter/lua", "api": "limiter/api"}

# A user's program that also imports the user's own package `api`, which has the name of one of our folders.
PROGRAM = """
import json, sys
import api, limiter.api
from limiter import Limiter, Policy, SlidingWindow

policy = Policy("standard", [SlidingWindow(100, 60)])
decision = Limiter(sys.argv[1]).take(policy, "key-1")
owner, mixed_up = api.OWNER, hasattr(limiter.api, "OWNER")
print(json.dumps([decision.allowed, decision.remaining, owner, mixed_up]))
"""


def run(*command, cwd):
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, built from the sdist, which is built from a copy of the sources without other files."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", cwd=source)
    (built,) = source.glob("dist/*.whl")
    return built


@pytest.fixture(scope="session")
def clean_python(wheel, tmp_path_factory):
    """An environment with the wheel and its dependencies, without extras."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel, cwd=folder)
    return python


@pytest.fixture
def project(tmp_path):
    """The folder of a user, with a program and a package named `api`."""
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "__init__.py").write_text("OWNER = 'the user'\n")
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def test_the_wheel_holds_one_package_and_its_metadata(wheel):
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"limiter"}


def test_the_wheel_holds_every_file_of_the_three_folders(wheel):
    """A data file that package-data omits is missing only in an installation, not in a checkout."""
    files = {
        f"{packaged}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, packaged in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {"limiter/py.typed", "limiter/lua/take.lua", "limiter/api/__init__.py"} <= files
    assert files == {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_installed_wheel_takes_a_limit_beside_a_users_own_api(clean_python, project, server):
    printed = json.loads(run(clean_python, "program.py", server.url, cwd=project))
    assert printed == [True, 99, "the user", False]


def test_the_library_needs_nothing_but_redis_py(clean_python, project):
    listed = "from importlib.metadata import distributions as d; print(*(each.name.lower() for each in d()))"
    installed = set(run(clean_python, "-c", listed, cwd=project).split())
    # redis-py itself requires async-timeout on Python before 3.11.3.
    assert installed - {"async-timeout"} == {"limitgate", "redis", "hiredis"}


def test_importing_the_library_imports_nothing_of_the_sidecar(project):
    """The environment of the tests has the dependencies of the sidecar. The user's `api` must not be imported either."""
    modules = set(run(sys.executable, "-c", "import limiter, sys; print(*sys.modules)", cwd=project).split())
    assert "limiter" in modules
    assert not modules & {"api", "limiter.api", "fastapi", "pydantic", "starlette", "typer", "uvicorn", "yaml"}
