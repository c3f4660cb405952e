"""The examples are valid, cause no warnings and are documented."""

from pathlib import Path

import pytest

from limiter.api.config.loader import load
from support.servers.provider import EXAMPLES

DOCS = Path(__file__).parents[2] / "docs" / "providers.md"


@pytest.mark.parametrize("name", ["deframe", "fileforge", "formflow", "frameflow", "gateway"])
def test_an_example_is_valid_without_warnings_and_documented(name):
    path = EXAMPLES / f"{name}.yaml"
    rules = load(path)
    assert rules.warnings == ()
    assert rules.guard is not None
    assert path.read_text().startswith("# ")
    assert f"(../examples/{name}.yaml)" in DOCS.read_text()
