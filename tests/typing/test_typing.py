"""mypy and pyright accept right uses of the public API and report wrong ones."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]


def mypy(program: Path) -> set[tuple[int, str]]:
    folder = program.parent
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", folder / "cache", "--follow-imports=silent", program]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended
    found = re.findall(r"(?m)^program\.py:(\d+): error: (.*)$", ended.stdout)
    assert found or ended.returncode == 0, ended
    return {(int(line), message) for line, message in found}


def pyright(program: Path) -> set[tuple[int, str]]:
    # In strict mode, the parameters of a lambda would need types, which Python has no syntax for.
    lambdas = dict.fromkeys(("reportUnknownArgumentType", "reportUnknownLambdaType", "reportUnknownMemberType"), False)
    config = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)], "reportUnusedExpression": False, **lambdas}
    (program.parent / "pyrightconfig.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    ended = subprocess.run(command, cwd=program.parent, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended
    report = json.loads(ended.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return {(each["range"]["start"]["line"] + 1, each["message"]) for each in report["generalDiagnostics"]}


@pytest.fixture
def check(request, tmp_path):
    def checked(text: str) -> set[tuple[int, str]]:
        program = tmp_path / "program.py"
        program.write_text(text)
        return request.param(program)

    return checked


checkers = pytest.mark.parametrize("check", [mypy, pyright], indirect=True)


@checkers
def test_a_program_that_uses_the_whole_api_is_correct(check):
    assert not check((HERE / "program.py").read_text())


@checkers
def test_the_python_of_the_readme_is_correct(check):
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```", (ROOT / "README.md").read_text())
    assert blocks
    assert not check("\n".join(blocks))


@checkers
def test_wrong_uses_are_errors(check):
    mistakes = (HERE / "mistakes.py").read_text()
    expected = {number for number, line in enumerate(mistakes.splitlines(), 1) if line.endswith("# error")}
    assert {line for line, _ in check(mistakes)} == expected
