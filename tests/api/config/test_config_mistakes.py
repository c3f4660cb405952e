"""Every mistake says where it is and what to do, and all are told at once."""

import pytest

from limiter.api.config.loader import ConfigError, load, loads

DIGEST = "ab" * 32
BASE = "policies: {standard: {limits: [100/minute]}}\ntiers: {free: {key: standard}}\n"


def mistakes(text):
    with pytest.raises(ConfigError) as caught:
        loads(text, "limiter.yaml")
    return [(mistake.line, mistake.field, mistake.message) for mistake in caught.value.mistakes]


def limit(text):
    return f"policies:\n  p:\n    limits:\n      - {text}\n"


# What is written, and the line, the field and the beginning of what is said.
LIMIT = "policies.p.limits[0]"
READING = [
    ("", 1, "file", "is empty: write at least `policies:`"),
    ("# nothing\n", 1, "file", "is empty"),
    ("- a\n- b\n", 1, "file", "is a list: write a mapping"),
    ("policies\n", 1, "file", "is the text 'policies': write a mapping"),
    ("a: b\n---\nc: d\n", 2, "file", "a second document begins here"),
    ("a:\n\t- b\n", 2, "a", "is no YAML: a tab indents this line"),
    ("a:\n  b: [c\nd: e\n", 2, "a.b", "is no YAML: a list is opened with ["),
    ("a: {b: c\n", 1, "a", "is no YAML: a mapping is opened with {"),
    ("a:\n  b: 'c\n", 2, "a.b", "is no YAML: a quote is opened here"),
    ("a: b: c\n", 1, "file", "is no YAML: a second `: ` on one line"),
    ("a: @b\n", 1, "a", "is no YAML: a text cannot begin with this character"),
    ("a: [::1]\n", 1, "a", "is no YAML: a value is missing here"),
    ("a: * b\n", 1, "a", "is no YAML: a text cannot begin with & or *"),
    ("a:\n- b\nc\n", 3, "a", "is no YAML: no `: ` after the field's name"),
    ("a: 1\n  b: 2\n", 2, "file", "is no YAML: a second `: ` on one line"),
    ("a:\n    b: 1\n  c: 2\n", 3, "file", "is no YAML: this line does not fit"),
    ("- a\nb: c\n", 2, "file", "is no YAML: a list's lines all begin with `- `"),
    ("a: b\x07\n", 1, "file", "character U+0007 is not printable"),
    ("a: b\nc: \ud800\n", 2, "file", "character U+D800 is not printable"),
    ("a: b\nc: \ufeff\n", 2, "file", "character U+FEFF is not printable"),
    ("? [a]\n: b\n", 1, "file", "a list or a mapping stands where a name should"),
    ("a:\n  {{b}}: c\n", 2, "a", "a list or a mapping stands where a name should"),
    ("[" * 30, 1, "[0]" * 19, "lists and mappings are nested more than 20 deep"),
    (BASE + "failure: &f open\n", 3, "failure", "'&f' is a YAML anchor"),
    (BASE + "failure: *f\n", 3, "failure", "'*f' is a YAML alias"),
    (BASE + "failure: !!str open\n", 3, "failure", "'tag:yaml.org,2002:str' is a YAML tag"),
    (BASE + "failure: open\nfailure: closed\n", 4, "failure", "stands on line 3 already: keep one"),
    (BASE + "<<: {a: b}\n", 3, "'<<'", "is YAML's merging"),
]

CONTENT = [
    ("failure: open\n", 1, "policies", "is missing: write it"),
    (BASE + "failur: open\n", 3, "failur", "is no field: did you mean failure?"),
    (BASE + "zebra: open\n", 3, "zebra", "is no field: use one of policies, tiers, identify, routes, redis, failure"),
    (BASE + "failure: maybe\n", 3, "failure", "'maybe' is none of the choices: use open or closed"),
    ("policies: [a]\n", 1, "policies", "is a list: write a mapping"),
    ("policies:\n  p:\n", 2, "policies.p", "is empty: write a mapping"),
    ("policies:\n  p: {}\n", 2, "policies.p.limits", "is missing"),
    ("policies:\n  p: {limits: []}\n", 2, "policies.p.limits", "has 0 limits: give it 1 to 16"),
    ("policies:\n  p: {limits: 1/minute}\n", 2, "policies.p.limits", "is the text '1/minute': write a list"),
    ("policies:\n  a b: {limits: [1/minute]}\n", 2, "policies.'a b'", "policy 'a b': use 1 to 64 letters"),
    ("policies:\n  p: {limits: [1/minute], failure: on}\n", 2, "policies.p.failure", "'on' is none of the choices"),
    (limit("100/minuite"), 4, "policies.p.limits[0]", "limit '100/minuite': window 'minuite' is no length of time"),
    (limit("lots"), 4, "policies.p.limits[0]", "limit 'lots' is not understood: write it as '100/minute'"),
    (limit("[1/minute]"), 4, "policies.p.limits[0]", "is a list: write one text"),
    (limit(""), 4, "policies.p.limits[0]", "is empty: write a text"),
    (limit("0/minute"), 4, "policies.p.limits[0]", "limit '0/minute': capacity 0 is out of range"),
    (limit("shadow 5/minute\n      - 1/minute"), 3, "policies.p.limits", "has two limits named 'minute'"),
    (limit("{}"), 4, "policies.p.limits[0]", "a limit is of one kind"),
    (
        limit("{sliding_window: {capacity: 1, window: day}, quota: {capacity: 1, period: day}}"),
        4,
        "policies.p.limits[0]",
        "a limit is of one",
    ),
    (limit("leaky: {}"), 4, "policies.p.limits[0].leaky", "is no field: use one of sliding_window, token_bucket, quota"),
    (limit("sliding_window: {window: day}"), 4, f"{LIMIT}.sliding_window.capacity", "is missing"),
    (
        limit("sliding_window:\n          capacity: 1e3\n          window: day"),
        5,
        f"{LIMIT}.sliding_window.capacity",
        "'1e3' is not a",
    ),
    (
        limit("sliding_window: {capacity: 017, window: day}"),
        4,
        f"{LIMIT}.sliding_window.capacity",
        "'017' is not a whole number",
    ),
    (limit("sliding_window: {capacity: '5', window: day}"), 4, f"{LIMIT}.sliding_window.capacity", "'5' is not a whole number"),
    (limit("sliding_window: {capacity: 0, window: day}"), 4, f"{LIMIT}.sliding_window.capacity", "capacity 0 is out of range"),
    (
        limit("sliding_window:\n          capacity: 1\n          window: year"),
        6,
        f"{LIMIT}.sliding_window.window",
        "window 'year' is",
    ),
    (limit("sliding_window: {capacity: 1, window: day, shadow: yes}"), 4, f"{LIMIT}.sliding_window.shadow", "'yes' is neither"),
    (limit("token_bucket: {capacity: 5, refill: 0}"), 4, f"{LIMIT}.token_bucket.refill", "refill 0 is out of range"),
    (limit("quota: {capacity: 5, period: year}"), 4, f"{LIMIT}.quota.period", "period 'year': use hour, day, week or month"),
    (limit("quota: {capacity: 5, period: day, timezone: Mars}"), 4, f"{LIMIT}.quota.timezone", "timezone 'Mars' is not known"),
    (limit("quota: {capacity: 5, period: day, anchor: 3}"), 4, f"{LIMIT}.quota.anchor", "anchor 3"),
    (BASE + "redis: http://x\n", 3, "redis", "is no Redis URL"),
    (BASE + "redis: {url: 'redis://u:pass/word@h'}\n", 3, "redis.url", "is no Redis URL"),
    (BASE + "redis: {prefix: a b}\n", 3, "redis.prefix", "prefix 'a b': use 1 to 64"),
    (BASE + "redis: {deadline: soon}\n", 3, "redis.deadline", "deadline 'soon' is no length of time"),
    (BASE + "redis: {deadline: 0}\n", 3, "redis.deadline", "deadline 0.0 is no length of time"),
    (BASE + "redis: {deadline: 5 minutes}\n", 3, "redis.deadline", "'5 minutes' is out of range: use 1ms to 60s"),
    (BASE + "identify: {anonymous: nobody}\n", 3, "identify.anonymous", "'nobody' is no policy of this file"),
    (BASE + "identify: {guard: standart}\n", 3, "identify.guard", "'standart' is no policy of this file: did you mean standard?"),
    (BASE + "identify: {order: bearer}\n", 3, "identify.order", "is the text 'bearer': write a list"),
    (BASE + "identify: {order: [bearer, cookie]}\n", 3, "identify.order[1]", "'cookie' is none of the choices"),
    (BASE + "identify: {order: [bearer, bearer]}\n", 3, "identify.order", "names one twice"),
    (BASE + "identify: {trusted_proxies: [10.0.0.1/8]}\n", 3, "identify.trusted_proxies[0]", "address '10.0.0.1/8' has bits set"),
    (BASE + "identify: {trusted_proxies: [proxy]}\n", 3, "identify.trusted_proxies[0]", "address 'proxy': use an address"),
    ("policies: {p: {limits: [1/day]}}\ntiers:\n  t: {}\n", 3, "tiers.t.key", "is missing"),
    ("policies: {p: {limits: [1/day]}}\ntiers:\n  t: {key: q}\n", 3, "tiers.t.key", "'q' is no policy of this file: use one of p"),
    ("policies: {p: {limits: [1/day]}}\ntiers:\n  t: {key: p, account: q}\n", 3, "tiers.t.account", "'q' is no policy of this file"),
    ("policies: {p: {limits: [1/day]}}\ntiers:\n  t: {key: p, scopes: [a b]}\n", 3, "tiers.t.scopes[0]", "scope 'a b': use 1 to 64"),
    ("policies: {p: {limits: [1/day]}}\ntiers:\n  t/{x: {key: p}\n", 3, "tiers.'t/{x'", "tier 't/{x': use 1 to 64"),
    (BASE + "accounts: {a: {tier: gold}}\n", 3, "accounts.a.tier", "'gold' is no tier of this file"),
    (BASE + "accounts: {a: {state: gone}}\n", 3, "accounts.a.state", "'gone' is none of the choices: use active or suspended"),
    (BASE + "accounts: {a: {policy: q}}\n", 3, "accounts.a.policy", "'q' is no policy"),
    (BASE + "accounts: {'{a}': {tier: free}}\n", 3, "accounts.'{a}'", "account '{a}': use 1 to 64"),
    (BASE + f"keys: [{{digest: {DIGEST}, tier: free}}]\n", 3, "keys[0].name", "is missing"),
    (BASE + "keys: [{name: k, tier: free}]\n", 3, "keys[0].digest", "is missing"),
    (BASE + f"keys: [{{name: k, digest: {DIGEST}}}]\n", 3, "keys[0].tier", "is missing: name a tier here, or under accounts for 'k'"),
    (BASE + f"keys: [{{name: k, digest: {DIGEST}, tier: gold}}]\n", 3, "keys[0].tier", "'gold' is no tier of this file"),
    (BASE + f"keys: [{{name: k, digest: {DIGEST}, tier: free, expires: soon}}]\n", 3, "keys[0].expires", "'soon' is no time: write it as"),
    (
        BASE + f"keys: [{{name: k, digest: {DIGEST}, tier: free, expires: 2026-12-31T10:00}}]\n",
        3,
        "keys[0].expires",
        "'2026-12-31T10:00' names",
    ),
    (BASE + f"keys: [{{name: k, digest: {DIGEST}, tier: free, state: lost}}]\n", 3, "keys[0].state", "'lost' is none of the choices"),
    (BASE + f"keys: [{{name: k k, digest: {DIGEST}, tier: free}}]\n", 3, "keys[0].name", "name 'k k': use 1 to 64"),
    (BASE + "routes: {path: /a}\n", 3, "routes", "is a mapping: write a list"),
    (BASE + "routes: [{cost: 2}]\n", 3, "routes[0].path", "is missing"),
    (BASE + "routes:\n  - path: /a\n  - path: a\n", 5, "routes[1].path", "'a' is no pattern: begin it with /"),
    (BASE + "routes: [{path: /a/**/b}]\n", 3, "routes[0].path", "'/a/**/b' is no pattern: ** stands for the rest: put it at the end"),
    (BASE + "routes: [{path: /a/*.json}]\n", 3, "routes[0].path", "'/a/*.json' is no pattern: segment '*.json': write it out"),
    (BASE + "routes: [{path: /a//b}]\n", 3, "routes[0].path", "'/a//b' is no pattern: segment '': no path has it"),
    (BASE + "routes: [{path: /a/../b}]\n", 3, "routes[0].path", "'/a/../b' is no pattern: segment '..': no path has it"),
    (BASE + "routes: [{path: /a?b}]\n", 3, "routes[0].path", "'/a?b' is no pattern: '?' is no part of a path"),
    (BASE + "routes: [{path: /a, method: get}]\n", 3, "routes[0].method", "'get' is no method: write it in capitals"),
    (BASE + "routes: [{path: /a, method: [GET, 5]}]\n", 3, "routes[0].method[1]", "'5' is no method"),
    (BASE + "routes: [{path: /a, method: []}]\n", 3, "routes[0].method", "is empty: name at least one"),
    (BASE + "routes: [{path: /a, cost: -1}]\n", 3, "routes[0].cost", "'-1' is not a whole number"),
    (BASE + "routes: [{path: /a, cost: 99999999999}]\n", 3, "routes[0].cost", "'99999999999' is out of range"),
    (BASE + "routes: [{path: /a, policy: q}]\n", 3, "routes[0].policy", "'q' is no policy of this file"),
    (BASE + "routes: [{path: /a, scope: a b}]\n", 3, "routes[0].scope", "scope 'a b': use 1 to 64"),
    (BASE + "routes: [{path: /a, exempt: 1}]\n", 3, "routes[0].exempt", "'1' is neither true nor false"),
    (BASE + "routes: [{path: /a, exempt: true, cost: 2}]\n", 3, "routes[0].exempt", "exempt lets everybody pass uncounted"),
    (BASE + "headers: {reset: soon}\n", 3, "headers.reset", "'soon' is none of the choices: use delta or epoch"),
    (BASE + "headers: {retry_after_ms: [yes]}\n", 3, "headers.retry_after_ms", "a list is neither true nor false"),
    (BASE + "deny_status: 400\n", 3, "deny_status", "'400' is no status for a denial: write 429, or 403"),
    (BASE + "credentials: {prefix: Big}\n", 3, "credentials.prefix", "key prefix 'Big': use 1 to 16 lower-case"),
    (BASE + "credentials: {pepper: x}\n", 3, "credentials.pepper", "stands in no file: set LIMITER_PEPPER in the environment"),
    (BASE + "credentials: {environments: [prod]}\n", 3, "credentials.environments[0]", "'prod' is none of the choices: use live or test"),
    (BASE + "credentials: {environments: []}\n", 3, "credentials.environments", "is empty: name at least one"),
    (BASE + "transport: {require_tls: on}\n", 3, "transport.require_tls", "'on' is neither true nor false"),
]


@pytest.mark.parametrize(("text", "line", "field", "said"), READING + CONTENT)
def test_a_mistake_names_line_and_field_and_remedy(text, line, field, said):
    found = mistakes(text)
    assert [(line, field)] == [(line, field) for line, field, _ in found]
    assert found[0][2].startswith(said)
    assert ":" in found[0][2]


def test_all_mistakes_are_told_at_once():
    """Of reading, of values and of names, whatever the section, in the order of the lines."""
    found = mistakes("""\
failure: maybe
redis: {url: http://x, prefix: a b, zebra: 1}
policies:
  p:
    limits: [lots, 100/minute, 0/hour]
    failure: &f sometimes
  q:
tiers:
  t: {key: r, account: s, colour: red}
identify: {order: [cookie], anonymous: nobody}
routes:
  - {path: a, method: get, cost: -1, policy: r}
  - {path: /a/**/b, exempt: yes}
keys:
  - {name: k k, digest: abc, tier: u, addresses: [x, y]}
  - {name: l}
deny_status: 200
failure: open
""")
    assert [(line, field) for line, field, _ in found] == [
        (1, "failure"),
        (2, "redis.prefix"),
        (2, "redis.url"),
        (2, "redis.zebra"),
        (5, "policies.p.limits[0]"),
        (5, "policies.p.limits[2]"),
        (6, "policies.p.failure"),
        (6, "policies.p.failure"),
        (7, "policies.q"),
        (9, "tiers.t.account"),
        (9, "tiers.t.colour"),
        (9, "tiers.t.key"),
        (10, "identify.anonymous"),
        (10, "identify.order[0]"),
        (12, "routes[0].cost"),
        (12, "routes[0].method"),
        (12, "routes[0].path"),
        (12, "routes[0].policy"),
        (13, "routes[1].exempt"),
        (13, "routes[1].path"),
        (15, "keys[0].addresses[0]"),
        (15, "keys[0].addresses[1]"),
        (15, "keys[0].digest"),
        (15, "keys[0].name"),
        (15, "keys[0].tier"),
        (16, "keys[1].digest"),
        (16, "keys[1].tier"),
        (17, "deny_status"),
        (18, "failure"),
    ]


def test_each_mistake_is_a_line_of_the_error():
    with pytest.raises(ConfigError) as caught:
        loads("failure: maybe\npolicies: {p: {limits: [1/day], cost: 1}}\n", "conf/limiter.yaml")
    assert str(caught.value).splitlines() == [
        "conf/limiter.yaml:1: failure: 'maybe' is none of the choices: use open or closed",
        "conf/limiter.yaml:2: policies.p.cost: is no field: use one of limits, failure",
    ]


def test_two_keys_share_neither_name_nor_digest():
    other = "cd" * 32
    keys = [("k", DIGEST), ("k", other), ("l", f'"sha256:{DIGEST.upper()}"')]
    text = BASE + "keys:\n" + "".join(f"  - {{name: {name}, digest: {digest}, tier: free}}\n" for name, digest in keys)
    assert [(line, field) for line, field, _ in mistakes(text)] == [(5, "keys[1].name"), (6, "keys[2].digest")]


@pytest.mark.parametrize(
    "text",
    [
        BASE + "keys: [{name: k, digest: ff_live_secretsecretsecret, tier: free}]\n",
        BASE + "keys: [{name: k, digest: [ff_live_secretsecretsecret], tier: free}]\n",
        BASE + "redis: {url: 'redis://:secretsecretsecret/@localhost'}\n",
        BASE + "redis: 'rediss://user:secretsecretsecret@localhost:port'\n",
        BASE + "redis: ['redis://:secretsecretsecret@localhost']\n",
    ],
)
def test_no_secret_is_repeated_in_a_mistake(text):
    with pytest.raises(ConfigError) as caught:
        loads(text)
    assert "secretsecret" not in str(caught.value)


def test_long_texts_are_cut_short():
    found = mistakes(limit("'" + "x" * 100_000 + "'") + "y" * 5000 + ": 1\n")
    assert all(len(field) + len(message) < 1000 for _, field, message in found)


def test_very_many_mistakes_are_counted():
    with pytest.raises(ConfigError, match="and 50 more"):
        loads(BASE + "".join(f"field{n}: 1\n" for n in range(150)))


def test_a_file_that_is_too_large_is_refused(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text(BASE + "# " + "ü" * 600_000, "utf-8")
    with pytest.raises(ConfigError, match=r"large\.yaml:1: file: is larger than 1,048,576 bytes"):
        load(path)


WARNINGS = [
    ("routes: [{path: /a/**}, {path: /a/b}]", 3, "routes[1]", "/a/b is never reached"),
    ("routes: [{path: /a, cost: 101}]", 3, "routes[0].cost", "101 is above the 100 of policy standard"),
    ("identify: {trusted_proxies: [0.0.0.0/0]}", 3, "identify.trusted_proxies[0]", "everybody is believed"),
    ("transport: {require_tls: true}", 3, "transport.require_tls", "no proxy is believed about TLS"),
]


@pytest.mark.parametrize(("text", "line", "field", "said"), WARNINGS)
def test_what_is_hardly_meant_is_a_warning(text, line, field, said):
    (warning,) = loads(BASE + text, "limiter.yaml").warnings
    assert warning.startswith(f"limiter.yaml:{line}: {field}: {said}")


def test_a_policy_without_use_and_a_front_without_callers_are_warnings():
    warnings = loads("policies: {p: {limits: [1/day]}}", "f").warnings
    assert [warning.split(": ")[1] for warning in warnings] == ["policies", "policies.p"]
