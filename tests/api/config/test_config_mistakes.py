"""Every mistake names its place and what is accepted, and all mistakes are reported at once."""

import re

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


# The text of a file, and the line, the field and the beginning of the message.
LIMIT = "policies.p.limits[0]"
WHOLE = "must be a whole number such as 1000, without quotes, not "
FLAG = "must be true or false, without quotes, not "
READING = [
    ("", 1, "file", "must not be empty: define `policies:`, or start from the file that"),
    ("# nothing\n", 1, "file", "must not be empty: define `policies:`, or start from the file that"),
    ("- a\n- b\n", 1, "file", "must be a mapping with fields from policies, tiers, identify, routes,"),
    ("policies\n", 1, "file", "must be a mapping with fields from policies, tiers, identify, routes,"),
    ("a: b\n---\nc: d\n", 2, "file", "must contain one YAML document: a second one begins at this `---`"),
    ("a:\n\t- b\n", 2, "a", "is not valid YAML: a tab indents this line: indent with spaces"),
    ("a:\n  b: [c\nd: e\n", 2, "a.b", "is not valid YAML: a list that begins with [ is not closed: close it with"),
    ("a: {b: c\n", 1, "a", "is not valid YAML: a mapping that begins with { is not closed: close it"),
    ("a:\n  b: 'c\n", 2, "a.b", "is not valid YAML: a quotation mark is not closed"),
    ("a: b: c\n", 1, "file", "is not valid YAML: a line has a second `: ` or is indented too far: put"),
    ("a: @b\n", 1, "a", "is not valid YAML: text cannot begin with this character: put the text in"),
    ("a: [::1]\n", 1, "a", "is not valid YAML: a value is missing or begins with a character that YAML"),
    ("a: * b\n", 1, "a", "is not valid YAML: text cannot begin with & or *: put the text in quotes"),
    ("a:\n- b\nc\n", 3, "a", "is not valid YAML: the field's name is not followed by `: `: write `name:"),
    ("a: 1\n  b: 2\n", 2, "file", "is not valid YAML: a line has a second `: ` or is indented too far: put"),
    ("a:\n    b: 1\n  c: 2\n", 3, "file", "is not valid YAML: this line does not match the lines above: indent the"),
    ("- a\nb: c\n", 2, "file", "is not valid YAML: every line of a list must begin with `- ` at the same"),
    ("a: b\x07\n", 1, "file", "character U+0007 is not printable"),
    ("a: b\nc: \ud800\n", 2, "file", "character U+D800 is not printable"),
    ("a: b\nc: \ufeff\n", 2, "file", "character U+FEFF is not printable"),
    ("? [a]\n: b\n", 1, "file", "a field's name must be text, not a list or a mapping: write `name: value`,"),
    ("a:\n  {{b}}: c\n", 2, "a", "a field's name must be text, not a list or a mapping: write `name: value`,"),
    ("[" * 30, 1, "[0]" * 19, "must not nest lists and mappings more than 20 deep"),
    (BASE + "failure: &f open\n", 3, "failure", "YAML anchors such as '&f' are not supported: remove them"),
    (BASE + "failure: *f\n", 3, "failure", "YAML aliases such as '*f' are not supported: write out the value, or quote"),
    (BASE + "failure: !!str open\n", 3, "failure", "YAML tags such as 'tag:yaml.org,2002:str' are not supported: remove them"),
    (BASE + "failure: open\nfailure: closed\n", 4, "failure", "must appear only once: line 3 has it already"),
    (BASE + "<<: {a: b}\n", 3, "'<<'", "YAML merge keys are not supported: write out the fields"),
]

CONTENT = [
    ("failure: open\n", 1, "policies", "is required"),
    (BASE + "failur: open\n", 3, "failur", "unknown field: did you mean failure?"),
    (BASE + "zebra: open\n", 3, "zebra", "unknown field: must be one of policies, tiers, identify, routes, redis,"),
    (BASE + "failure: maybe\n", 3, "failure", "must be open or closed, not 'maybe'"),
    ("policies: [a]\n", 1, "policies", "must be a mapping from names to their definitions, not a list"),
    ("policies:\n  p:\n", 2, "policies.p", "must be a mapping with fields from limits, failure, not empty"),
    ("policies:\n  p: {}\n", 2, "policies.p.limits", "is required"),
    ("policies:\n  p: {limits: []}\n", 2, "policies.p.limits", "must have 1 to 16 limits, not 0"),
    ("policies:\n  p: {limits: 1/minute}\n", 2, "policies.p.limits", "must be a list such as [a, b], not '1/minute'"),
    ("policies:\n  a b: {limits: [1/minute]}\n", 2, "policies.'a b'", "policy must be 1 to 64 letters"),
    ("policies:\n  p: {limits: [1/minute], failure: on}\n", 2, "policies.p.failure", "must be open or closed, not 'on'"),
    (limit("100/minuite"), 4, "policies.p.limits[0]", "limit '100/minuite': window must be a number of seconds above 0"),
    (limit("lots"), 4, "policies.p.limits[0]", "limit must be text such as '100/minute'"),
    (limit("[1/minute]"), 4, "policies.p.limits[0]", "must be text, not a list"),
    (limit(""), 4, "policies.p.limits[0]", "must be text, not empty"),
    (limit("0/minute"), 4, "policies.p.limits[0]", "limit '0/minute': capacity must be a whole number from 1"),
    (limit("shadow 5/minute\n      - 1/minute"), 3, "policies.p.limits", "must have limits of different names, not 'minute'"),
    (limit("{}"), 4, "policies.p.limits[0]", "must have exactly one of sliding_window, token_bucket and quota"),
    (limit("{sliding_window: {capacity: 1, window: day}, quota: {capacity: 1, period: day}}"), 4, "policies.p.limits[0]", "must have"),
    (limit("leaky: {}"), 4, "policies.p.limits[0].leaky", "unknown field: must be one of sliding_window, token_bucket, quota"),
    (limit("sliding_window: {window: day}"), 4, f"{LIMIT}.sliding_window.capacity", "is required"),
    (limit("sliding_window:\n          capacity: 1e3\n          window: day"), 5, f"{LIMIT}.sliding_window.capacity", WHOLE + "'1e3'"),
    (limit("sliding_window: {capacity: 017, window: day}"), 4, f"{LIMIT}.sliding_window.capacity", WHOLE + "'017'"),
    (limit("sliding_window: {capacity: '5', window: day}"), 4, f"{LIMIT}.sliding_window.capacity", WHOLE + "'5'"),
    (limit("sliding_window: {capacity: 0, window: day}"), 4, f"{LIMIT}.sliding_window.capacity", "capacity must be a whole number"),
    (limit("sliding_window:\n          capacity: 1\n          window: year"), 6, f"{LIMIT}.sliding_window.window", "window must"),
    (limit("sliding_window: {capacity: 1, window: day, shadow: yes}"), 4, f"{LIMIT}.sliding_window.shadow", FLAG + "'yes'"),
    (limit("token_bucket: {capacity: 5, refill: 0}"), 4, f"{LIMIT}.token_bucket.refill", "refill must be a whole number"),
    (limit("quota: {capacity: 5, period: year}"), 4, f"{LIMIT}.quota.period", "period must be hour, day, week or month"),
    (limit("quota: {capacity: 5, period: day, timezone: Mars}"), 4, f"{LIMIT}.quota.timezone", "timezone must be an IANA name"),
    (limit("quota: {capacity: 5, period: day, anchor: 3}"), 4, f"{LIMIT}.quota.anchor", "anchor must be 1 for a day"),
    (BASE + "redis: http://x\n", 3, "redis", "must be a Redis URL such as redis://localhost:6379/0, rediss://host or"),
    (BASE + "redis: {url: 'redis://u:pass/word@h'}\n", 3, "redis.url", "must be a Redis URL such as redis://localhost:6379/0,"),
    (BASE + "redis: {prefix: a b}\n", 3, "redis.prefix", "prefix must be 1 to 64 letters"),
    (BASE + "redis: {deadline: soon}\n", 3, "redis.deadline", "deadline must be a number of seconds above 0"),
    (BASE + "redis: {deadline: 0}\n", 3, "redis.deadline", "deadline must be a number of seconds above 0"),
    (BASE + "connections: {most: 0}\n", 3, "connections.most", "must be a whole number from 1 to 1,000,000, not '0'"),
    (BASE + "connections: {per_peer: 2000000}\n", 3, "connections.per_peer", "must be a whole number from 1 to 1,000,000, not '2000000'"),
    (BASE + "connections: {most: many}\n", 3, "connections.most", WHOLE + "'many'"),
    (BASE + "connections: {head: 100ms}\n", 3, "connections.head", "must be a duration from 1s to 1h, not '100ms'"),
    (BASE + "connections: {idle: 2 hours}\n", 3, "connections.idle", "must be a duration from 1s to 1h, not '2 hours'"),
    (BASE + "connections: {heads: 15s}\n", 3, "connections.heads", "unknown field: did you mean head?"),
    (BASE + "connections: {held: 512KiB}\n", 3, "connections.held", "must be a size from 1MiB to 1024GiB, such as 64MiB, not '512KiB'"),
    (BASE + "connections: {held: 64000000}\n", 3, "connections.held", "must be a size from 1MiB to 1024GiB, such as 64MiB, not '64000000'"),
    (BASE + "upstream: {head: 0s}\n", 3, "upstream.head", "timeout must be a number of seconds above 0"),
    (BASE + "upstream: {body: 2 hours}\n", 3, "upstream.body", "must be a duration from 1s to 1h, not '2 hours'"),
    (BASE + "upstream: {conect: 5s}\n", 3, "upstream.conect", "unknown field: did you mean connect?"),
    (BASE + "shutdown: {drain: soon}\n", 3, "shutdown.drain", "must be a duration from 0s to 1h, such as 10s, not 'soon'"),
    (BASE + "shutdown: {delay: \u00b2}\n", 3, "shutdown.delay", "must be a duration from 0s to 1h, such as 10s, not '\u00b2'"),
    (BASE + "shutdown: {delay: 2h}\n", 3, "shutdown.delay", "must be a duration from 0s to 1h, such as 10s, not '2h'"),
    (BASE + "shutdown: [5s]\n", 3, "shutdown", "must be a mapping with fields from delay, drain, not a list"),
    (BASE + "cors: {}\n", 3, "cors.origins", "is required"),
    (BASE + "cors: {origins: []}\n", 3, "cors.origins", "must name at least one"),
    (BASE + "cors:\n  origins: https://a.example\n", 4, "cors.origins", "must be a list such as [a, b], not 'https://a.example'"),
    (BASE + "cors: {origins: [app.example.com]}\n", 3, "cors.origins[0]", "must be an origin such as https://app.example.com, in lower"),
    (BASE + "cors: {origins: ['https://a.example/']}\n", 3, "cors.origins[0]", "must be an origin such as https://app.example.com, in"),
    (BASE + "cors: {origins: ['https://*.example']}\n", 3, "cors.origins[0]", "must be an origin such as https://app.example.com, in"),
    (BASE + "cors: {origins: ['https://A.example']}\n", 3, "cors.origins[0]", "must be an origin such as https://app.example.com, in"),
    (
        BASE + "cors: {origins: ['https://a.example:443']}\n",
        3,
        "cors.origins[0]",
        "must not contain the default port, which browsers omit",
    ),
    (BASE + "cors: {origins: ['null']}\n", 3, "cors.origins[0]", "must not be null, the origin of every sandboxed page and local file"),
    (BASE + "cors: {origins: ['*', 'https://a.example']}\n", 3, "cors.origins", "origins must be either ['*'] or a list of origins, not"),
    (BASE + "cors:\n  origins: ['*']\n  credentials: true\n", 5, "cors.credentials", "credentials must be false with origins ['*'], as"),
    (BASE + "cors: {origins: ['*'], headers: ['*']}\n", 3, "cors.headers[0]", "must be the name of a header, not '*', which does not"),
    (BASE + "cors: {origins: ['*'], expose: ['a b']}\n", 3, "cors.expose[0]", "must be the name of a header such as X-Request-Id, not"),
    (BASE + "cors: {origins: ['*'], methods: [get]}\n", 3, "cors.methods[0]", "must be a method in capitals such as POST, not 'get'"),
    (BASE + "cors: {origins: ['*'], max_age: 2 days}\n", 3, "cors.max_age", "must be a duration from 1s to 1 day, not '2 days'"),
    (BASE + "cors: {origins: ['*'], guard: standart}\n", 3, "cors.guard", "unknown policy 'standart': did you mean standard?"),
    (BASE + "caller_headers: {}\n", 3, "caller_headers.include", "is required"),
    (BASE + "caller_headers: {include: [secret]}\n", 3, "caller_headers.include[0]", "must be account, key or tier, not 'secret'"),
    (BASE + "caller_headers: {include: [key, key]}\n", 3, "caller_headers.include", "must not contain the same name twice"),
    (BASE + "caller_headers:\n  include: [key]\n  sign: true\n", 5, "caller_headers.sign", "sign needs a secret: set secret_file, or"),
    (BASE + "caller_headers:\n  include: [key]\n  secret_file: /a\n", 5, "caller_headers.secret_file", "secret_file must come with `sign:"),
    (
        BASE + "caller_headers:\n  include: [key]\n  sign: true\n  secret_file: /not/there\n",
        6,
        "caller_headers.secret_file",
        "secret_file /not/there cannot be read: No such file or directory",
    ),
    (BASE + "redis: {deadline: 5 minutes}\n", 3, "redis.deadline", "must be a duration from 1ms to 60s, not '5 minutes'"),
    (BASE + "identify: {anonymous: nobody}\n", 3, "identify.anonymous", "unknown policy 'nobody': must be one of standard"),
    (BASE + "identify: {guard: standart}\n", 3, "identify.guard", "unknown policy 'standart': did you mean standard?"),
    (BASE + "identify: {order: bearer}\n", 3, "identify.order", "must be a list such as [a, b], not 'bearer'"),
    (BASE + "identify: {order: [bearer, cookie]}\n", 3, "identify.order[1]", "must be bearer or x-api-key, not 'cookie'"),
    (BASE + "identify: {order: [bearer, bearer]}\n", 3, "identify.order", "must not contain the same name twice"),
    (BASE + "identify: {trusted_proxies: [10.0.0.1/8]}\n", 3, "identify.trusted_proxies[0]", "address '10.0.0.1/8' has bits set"),
    (BASE + "identify: {gateway: haproxy}\n", 3, "identify.gateway", "must be nginx, forwarded, envoy or none, not 'haproxy'"),
    (BASE + "identify: {trusted_proxies: [proxy]}\n", 3, "identify.trusted_proxies[0]", "address must be an IP address or a network"),
    ("policies: {p: {limits: [1/day]}}\ntiers:\n  t: {}\n", 3, "tiers.t.key", "is required"),
    ("policies: {p: {limits: [1/day]}}\ntiers:\n  t: {key: q}\n", 3, "tiers.t.key", "unknown policy 'q': must be one of p"),
    ("policies: {p: {limits: [1/day]}}\ntiers:\n  t: {key: p, account: q}\n", 3, "tiers.t.account", "unknown policy 'q': must be one of p"),
    ("policies: {p: {limits: [1/day]}}\ntiers:\n  t: {key: p, scopes: [a b]}\n", 3, "tiers.t.scopes[0]", "scope must be 1 to 64 letters"),
    ("policies: {p: {limits: [1/day]}}\ntiers:\n  t/{x: {key: p}\n", 3, "tiers.'t/{x'", "tier must be 1 to 64"),
    (BASE + "accounts: {a: {tier: gold}}\n", 3, "accounts.a.tier", "unknown tier 'gold': must be one of free"),
    (BASE + "accounts: {a: {state: gone}}\n", 3, "accounts.a.state", "must be active or suspended, not 'gone'"),
    (BASE + "accounts: {a: {policy: q}}\n", 3, "accounts.a.policy", "unknown policy 'q': must be one of standard"),
    (BASE + "accounts: {'{a}': {tier: free}}\n", 3, "accounts.'{a}'", "account must be 1 to 64 letters"),
    (BASE + f"keys: [{{digest: {DIGEST}, tier: free}}]\n", 3, "keys[0].name", "is required"),
    (BASE + "keys: [{name: k, tier: free}]\n", 3, "keys[0].digest", "is required"),
    (BASE + f"keys: [{{name: k, digest: {DIGEST}}}]\n", 3, "keys[0].tier", "is required: set a tier here, or for 'k' under accounts"),
    (BASE + f"keys: [{{name: k, digest: {DIGEST}, tier: gold}}]\n", 3, "keys[0].tier", "unknown tier 'gold': must be one of free"),
    (BASE + f"keys: [{{name: k, digest: {DIGEST}, tier: free, expires: soon}}]\n", 3, "keys[0].expires", "must be a date or time such as"),
    (BASE + f"keys: [{{name: k, digest: {DIGEST}, tier: free, expires: 2026-12-31T10:00}}]\n", 3, "keys[0].expires", "must be a time"),
    (BASE + f"keys: [{{name: k, digest: {DIGEST}, tier: free, state: lost}}]\n", 3, "keys[0].state", "must be active or revoked, not"),
    (BASE + f"keys: [{{name: k k, digest: {DIGEST}, tier: free}}]\n", 3, "keys[0].name", "name must be 1 to 64"),
    (BASE + "routes: {path: /a}\n", 3, "routes", "must be a list such as [a, b], not a mapping"),
    (BASE + "routes: [{cost: 2}]\n", 3, "routes[0].path", "is required"),
    (BASE + "routes:\n  - path: /a\n  - path: a\n", 5, "routes[1].path", "must be a path pattern, not 'a': begin it with / and use at"),
    (
        BASE + "routes: [{path: /a/**/b}]\n",
        3,
        "routes[0].path",
        "must be a path pattern, not '/a/**/b': ** matches the rest of the path: put it at",
    ),
    (BASE + "routes: [{path: /a/*.json}]\n", 3, "routes[0].path", "must be a path pattern, not '/a/*.json': segment '*.json': write it"),
    (
        BASE + "routes: [{path: /a//b}]\n",
        3,
        "routes[0].path",
        "must be a path pattern, not '/a//b': segment '': no path matches it: remove",
    ),
    (
        BASE + "routes: [{path: /a/../b}]\n",
        3,
        "routes[0].path",
        "must be a path pattern, not '/a/../b': segment '..': no path matches it: remove",
    ),
    (BASE + "routes: [{path: /a?b}]\n", 3, "routes[0].path", "must be a path pattern, not '/a?b': '?' cannot be part of a path"),
    (BASE + "routes: [{path: /a, method: get}]\n", 3, "routes[0].method", "must be a method in capitals such as POST, not 'get'"),
    (BASE + "routes: [{path: /a, method: [GET, 5]}]\n", 3, "routes[0].method[1]", "must be a method in capitals such as POST, not '5'"),
    (BASE + "routes: [{path: /a, method: []}]\n", 3, "routes[0].method", "must name at least one: omit the field to accept all"),
    (BASE + "routes: [{path: /a, cost: -1}]\n", 3, "routes[0].cost", WHOLE + "'-1'"),
    (BASE + "routes: [{path: /a, cost: 99999999999}]\n", 3, "routes[0].cost", "must be a whole number from 0 to 4,294,967,295, not"),
    (BASE + "routes: [{path: /a, policy: q}]\n", 3, "routes[0].policy", "unknown policy 'q': must be one of standard"),
    (BASE + "routes: [{path: /a, scope: a b}]\n", 3, "routes[0].scope", "scope must be 1 to 64 letters"),
    (BASE + "routes: [{path: /a, exempt: 1}]\n", 3, "routes[0].exempt", FLAG + "'1'"),
    (BASE + "routes: [{path: /a, exempt: true, cost: 2}]\n", 3, "routes[0].exempt", "exempt must not be combined with cost: use `cost:"),
    (BASE + "headers: {reset: soon}\n", 3, "headers.reset", "must be delta or epoch, not 'soon'"),
    (BASE + "headers: {retry_after_ms: [yes]}\n", 3, "headers.retry_after_ms", FLAG + "a list"),
    (BASE + "deny_status: 400\n", 3, "deny_status", "must be 429 or 403, not '400'"),
    (BASE + "credentials: {prefix: Big}\n", 3, "credentials.prefix", "key prefix must be 1 to 16 lower-case letters and digits"),
    (BASE + "credentials: {pepper: x}\n", 3, "credentials.pepper", "must not be in the file: set LIMITER_PEPPER in the environment"),
    (BASE + "credentials: {environments: [prod]}\n", 3, "credentials.environments[0]", "must be live or test, not 'prod'"),
    (BASE + "credentials: {environments: []}\n", 3, "credentials.environments", "must name at least one: omit the field to accept all"),
    (BASE + "transport: {require_tls: on}\n", 3, "transport.require_tls", FLAG + "'on'"),
    (BASE + "paths: lenient\n", 3, "paths", "must be strict or encoded-slashes, not 'lenient'"),
]


@pytest.mark.parametrize(("text", "line", "field", "said"), READING + CONTENT)
def test_a_mistake_names_the_line_the_field_and_what_is_accepted(text, line, field, said):
    found = mistakes(text)
    assert [(line, field)] == [(line, field) for line, field, _ in found]
    assert found[0][2].startswith(said)
    assert re.search(r"must |required|: ", found[0][2])


def test_all_mistakes_are_reported_at_once():
    """Mistakes of syntax, values and names, from every section, in the order of their lines."""
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
        "conf/limiter.yaml:1: failure: must be open or closed, not 'maybe'",
        "conf/limiter.yaml:2: policies.p.cost: unknown field: must be one of limits, failure",
    ]


def test_two_keys_cannot_share_a_name_or_a_digest():
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
def test_mistakes_do_not_show_secrets(text):
    with pytest.raises(ConfigError) as caught:
        loads(text)
    assert "secretsecret" not in str(caught.value)


def test_long_texts_are_shortened():
    found = mistakes(limit("'" + "x" * 100_000 + "'") + "y" * 5000 + ": 1\n")
    assert all(len(field) + len(message) < 1000 for _, field, message in found)


def test_mistakes_beyond_the_first_hundred_are_only_counted():
    with pytest.raises(ConfigError, match="and 50 more"):
        loads(BASE + "".join(f"field{n}: 1\n" for n in range(150)))


def test_a_file_that_is_too_large_is_refused(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text(BASE + "# " + "ü" * 600_000, "utf-8")
    with pytest.raises(ConfigError, match=r"large\.yaml:1: file: must be at most 1,048,576 bytes"):
        load(path)


WARNINGS = [
    ("routes: [{path: /a/**}, {path: /a/b}]", 3, "routes[1]", "/a/b never matches"),
    ("routes: [{path: /a, cost: 101}]", 3, "routes[0].cost", "cost 101 is above the capacity 100 of policy standard"),
    ("identify: {gateway: envoy, trusted_proxies: [0.0.0.0/0]}", 3, "identify.trusted_proxies[0]", "every peer is trusted"),
    ("identify: {trusted_proxies: [10.0.0.1]}", 3, "identify.trusted_proxies", "identify.gateway is not set"),
    ("identify: {gateway: forwarded}", 3, "identify.gateway", "no peer is trusted"),
    ("deny_status: 403\nidentify:\n  gateway: nginx", 5, "identify.gateway", "no peer is trusted"),
    ("identify: {gateway: nginx, trusted_proxies: [10.0.0.1]}", 3, "identify.gateway", "nginx's auth_request turns denials"),
    ("transport: {require_tls: true}", 3, "transport.require_tls", "no proxy is trusted to report TLS"),
]


@pytest.mark.parametrize(("text", "line", "field", "said"), WARNINGS)
def test_a_setting_that_is_probably_a_mistake_is_a_warning(text, line, field, said):
    (warning,) = loads(BASE + text, "limiter.yaml").warnings
    assert warning.startswith(f"limiter.yaml:{line}: {field}: {said}")


def test_an_unused_policy_and_a_file_that_admits_nobody_are_warnings():
    warnings = loads("policies: {p: {limits: [1/day]}}", "f").warnings
    assert [warning.split(": ")[1] for warning in warnings] == ["policies", "policies.p"]
