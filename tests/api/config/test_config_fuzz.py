"""Whatever a file contains, loading it quickly ends with rules or a ConfigError."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limiter.api.config.loader import MAX_BYTES, ConfigError, load, loads, starting_file
from limiter.api.rules import Rules

FIELDS = [
    *("policies", "tiers", "identify", "routes", "redis", "failure", "keys", "accounts", "headers", "deny_status", "credentials"),
    *("limits", "key", "account", "scopes", "order", "anonymous", "guard", "trusted_proxies", "path", "method", "cost", "policy"),
    *("scope", "exempt", "name", "digest", "tier", "addresses", "expires", "gateway", "state", "url", "prefix", "deadline", "environments"),
    *("sliding_window", "token_bucket", "quota", "capacity", "window", "refill", "per", "period", "timezone", "anchor", "shadow"),
    *("reset", "retry_after_ms", "should_retry", "transport", "require_tls", "<<", "pepper"),
]
WORDS = [
    *("standard", "free", "100/minute", "burst 50, 1200/minute", "quota 10/day", "open", "closed", "bearer", "delta", "/a/*", "/**"),
    *("on", "yes", "1e3", "017", "0x1F", "1_000", ".inf", "1:30", "2026-12-31", "::1", "10.0.0.0/8", "429", "active", "ff", "\n", "\0"),
    *(
        "9" * 30,
        "1/" + "9" * 400 + "s",
        "burst 5, 3/" + "9" * 400 + "s",
        "9" * 5000 + "/minute",
        "minute",
        "month",
        "Europe/Berlin",
        "redis://x:y/z",
        "GET",
        "a" * 64,
    ),
    *("sha256:" + "a" * 64, "%2F", "é", "\ud800", "", "null", "{", "[", "*a", "&a", "!!str"),
]
scalars = st.one_of(st.sampled_from(WORDS), st.text(max_size=12), st.integers(), st.floats(), st.booleans(), st.none())
names = st.sampled_from(FIELDS + WORDS)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5), max_leaves=30)


def loaded(text: str) -> Rules | None:
    try:
        return loads(text, "f.yaml")
    except ConfigError as caught:
        check_error(caught)
        return None


def check_error(error: ConfigError) -> None:
    assert error.mistakes
    for mistake, line in zip(error.mistakes, str(error).split("\n"), strict=False):
        assert mistake.line >= 1
        assert mistake.file
        assert mistake.field
        assert mistake.message
        assert line == f"{mistake.file}:{mistake.line}: {mistake.field}: {mistake.message}" or line.startswith("and ")


@given(st.text())
@example("a: \ud800")
@example("\ufeff")
@example("*a : b")
@example("? [a]\n: b")
@example("{{a}}")
@example("- &a [*a]")
@example("a: |\n  x\n b")
@example("%YAML 3.0\n---\na: b")
def test_any_text_gives_rules_or_mistakes(text):
    loaded(text)


@given(st.binary())
@example(b"\xff\xfea\x00")
@example(b"policies: \xe9")
def test_any_bytes_are_rules_or_a_mistake(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    try:
        load(path)
    except ConfigError as caught:
        check_error(caught)


@given(st.dictionaries(names, trees, max_size=6))
def test_any_structure_gives_rules_or_mistakes(tree):
    loaded(json.dumps(tree))


@given(st.data())
def test_a_good_file_with_any_part_replaced_gives_rules_or_mistakes(data):
    whole = {
        "policies": {"p": {"limits": ["1/second", {"quota": {"capacity": 1, "period": "day"}}], "failure": "open"}},
        "tiers": {"t": {"key": "p", "account": "p", "scopes": ["a"]}},
        "identify": {"order": ["bearer"], "anonymous": "p", "guard": "p", "gateway": "nginx", "trusted_proxies": ["10.0.0.0/8"]},
        "keys": [{"name": "k", "digest": "a" * 64, "tier": "t", "scopes": ["a"], "addresses": ["::1"], "expires": "2026-12-31"}],
        "routes": [{"path": "/a/*", "method": ["GET"], "cost": 2, "policy": "p", "scope": "a"}],
        "accounts": {"a": {"tier": "t", "state": "active", "policy": "p"}},
        "redis": {"url": "redis://x", "prefix": "p", "deadline": "50ms"},
        "headers": {"reset": "delta", "retry_after_ms": True},
    }
    assert isinstance(loaded(json.dumps(whole)), Rules)
    at = whole
    while isinstance(at, dict | list) and at:
        step = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[step], dict | list) or data.draw(st.booleans()):
            at[step] = data.draw(trees)
            break
        at = at[step]
    loaded(json.dumps(whole))


@given(st.integers(0, 2000), st.integers(0, 30), st.text(max_size=5))
def test_a_mangled_starting_file_gives_rules_or_mistakes(at, cut, put):
    text = starting_file()
    loaded(text[:at] + put + text[at + cut :])


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * 500_000,
        "{" * 500_000,
        "- " * 500_000,
        "? " * 500_000,
        "a: [" * 100_000,
        "{a: " * 200_000,
        "a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
        "a: [" + "*a, " * 200_000,
        "".join(f"a{n}: x\n" for n in range(90_000)),
        "policies: {" + "a: {limits: [1/second]}, " * 40_000 + "}",
        "policies: [" + "x, " * 300_000 + "]",
        "policies:\n  p:\n    limits: [" + "1/minute, " * 90_000 + "]",
        "failure: '" + "x" * 1_000_000 + "'",
        '"' + "x" * 1_000_000 + '": x',
        "routes:\n" + "  - {path: /a/*/b}\n" * 50_000,
        "\n" * 1_000_000,
        "#" * 1_000_000,
        "!" * 1_000_000,
        "x" * (MAX_BYTES + 1),
    ],
    ids=lambda bomb: bomb[:12],
)
def test_a_bomb_is_refused_quickly(bomb):
    """The bound is processor time, with room for a slow machine."""
    begun = time.process_time()
    assert loaded(bomb) is None
    assert time.process_time() - begun < 15


def test_an_endless_device_is_too_large():
    with pytest.raises(ConfigError, match="/dev/zero:1: file: must be at most"):
        load(Path("/dev/zero"))
