"""Mistakes about odd names stay on one line."""

import json

import pytest

from limiter.api.config.loader import ConfigError, loads


@pytest.mark.parametrize("name", ["\n", "a\u2028b", "\x1b[31m", "x" * 900, "", "é", "a.b[0]", "'"])
def test_a_mistake_stays_on_its_line_and_holds_no_control_characters(name):
    text = json.dumps({"policies": {name: {"limits": [name]}}, name: 1, "identify": {"anonymous": name + "?"}, "routes": [{"path": name}]})
    with pytest.raises(ConfigError) as caught:
        loads(text, "f.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.mistakes) >= 4
    assert all(line.isprintable() and line.startswith("f.yaml:1: ") and len(line) < 1000 for line in lines)
