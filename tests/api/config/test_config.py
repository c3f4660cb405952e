"""What a valid file means: the value of each field, and its default."""

import ipaddress
from hashlib import sha256
from pathlib import Path

import pytest

from limiter.api.config.loader import ConfigError, load, loads, starting_file
from limiter.api.identity import Directory, Identity
from limiter.api.rules import default_guard
from limiter.limits import Quota, SlidingWindow, TokenBucket

DIGEST = "ab" * 32
POLICY = "policies: {standard: {limits: [100/minute]}, big: {limits: [1000/minute]}}\ntiers: {free: {key: standard}}\n"


def test_the_smallest_file_has_every_default():
    rules = loads("policies: {standard: {limits: [100/minute]}}")
    assert rules.policies["standard"].limits == (SlidingWindow(100, 60),)
    assert rules.policies["standard"].failure == "open"
    assert (rules.tiers, rules.keys, rules.accounts) == ({}, {}, {})
    assert (rules.order, rules.anonymous, rules.guard) == (("bearer", "x-api-key"), None, default_guard("open"))
    assert (rules.reset, rules.retry_after_ms, rules.should_retry, rules.deny_status) == ("delta", False, False, 429)
    assert (rules.redis_url, rules.prefix, rules.deadline) == (None, "lim", 0.05)
    assert (rules.key_prefix, rules.environments, rules.require_tls) == ("ff", {"live", "test"}, False)
    assert not rules.trusts("127.0.0.1")


def test_limits_are_texts_or_mappings():
    rules = loads("""
policies:
  all:
    limits:
      - 100/minute
      - "burst 50, 1200/minute"
      - quota 10_000/month from 15 Europe/Berlin
      - sliding_window: { capacity: 5_000, window: 90, name: long, shadow: true }
      - token_bucket: { capacity: 10, refill: 2, per: 1.5, name: slow }
      - quota: { capacity: 7, period: week, timezone: Asia/Tokyo, anchor: 1 }
""")
    assert rules.policies["all"].limits == (
        SlidingWindow(100, 60),
        TokenBucket(50, 1200, "minute"),
        Quota(10_000, "month", "Europe/Berlin", 15),
        SlidingWindow(5000, 90, "long", shadow=True),
        TokenBucket(10, 2, 1.5, "slow"),
        Quota(7, "week", "Asia/Tokyo"),
    )


def test_a_policys_failure_mode_defaults_to_that_of_the_file():
    rules = loads("failure: closed\npolicies: {a: {limits: [1/second]}, b: {limits: [1/second], failure: open}}")
    assert (rules.policies["a"].failure, rules.policies["b"].failure) == ("closed", "open")


def test_tiers_name_policies_for_the_key_and_for_its_account():
    rules = loads(POLICY + "identify: {anonymous: standard, guard: big}\n")
    assert rules.tiers["free"].key is rules.policies["standard"]
    assert rules.tiers["free"].account is None
    assert rules.tiers["free"].scopes is None
    assert (rules.anonymous, rules.guard) == (rules.policies["standard"], rules.policies["big"])


def test_a_key_has_its_own_tier_or_that_of_its_account():
    rules = loads(
        POLICY.replace("free: {key: standard}", "free: {key: standard}, pro: {key: standard, account: big, scopes: [a]}")
        + f"""
accounts:
  acme: {{ tier: pro, state: suspended, policy: standard }}
keys:
  - {{ name: one, digest: "sha256:{DIGEST}", account: acme, scopes: [a, b], addresses: [203.0.113.0/24, "::ffff:198.51.100.0/120"] }}
  - {{ name: two, digest: {"CD" * 32}, account: acme, tier: free, expires: 2026-12-31, state: revoked, policy: big }}
  - {{ name: own, digest: "hmac-sha256:{"ef" * 32}", tier: free, expires: "2026-12-31T01:00:00+01:00" }}
"""
    )
    one, two, own = rules.keys[DIGEST], rules.keys["cd" * 32], rules.keys["ef" * 32]
    assert (one.name, one.account, one.tier, one.state) == ("one", "acme", rules.tiers["pro"], "active")
    assert one.addresses == (ipaddress.ip_network("203.0.113.0/24"), ipaddress.ip_network("198.51.100.0/24"))
    assert one.tier.allowed(one.scopes) == {"a"}
    assert (two.tier, two.expires, two.state, two.policy) == (rules.tiers["free"], 1798675200.0, "revoked", rules.policies["big"])
    assert (own.account, own.peppered, own.expires) == ("own", True, 1798675200.0)
    acme = rules.accounts["acme"]
    assert (acme.tier, acme.state, acme.policy) == (rules.tiers["pro"], "suspended", rules.policies["standard"])


@pytest.mark.parametrize(
    ("ip", "admitted"),
    [("203.0.113.7", True), ("::ffff:203.0.113.7", True), ("203.0.114.7", False), ("2001:db8::1", True), ("nonsense", False), ("", False)],
)
def test_a_key_is_admitted_only_from_its_addresses(ip, admitted):
    digest = sha256(b"the-key").hexdigest()
    rules = loads(POLICY + f'keys: [{{name: k, digest: {digest}, tier: free, addresses: [203.0.113.0/24, "2001:db8::/32"]}}]')
    assert isinstance(Directory(rules).recall("the-key", None, ip), Identity) is admitted


@pytest.mark.parametrize(
    ("ip", "trusted"),
    [("127.0.0.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("::2", False), ("10.0.0.1", False), ("", False), ("x" * 99, False)],
)
def test_proxies_are_trusted_by_address(ip, trusted):
    rules = loads(POLICY + 'identify: {trusted_proxies: [127.0.0.0/8, "::1"]}')
    assert rules.trusts(ip) is trusted


def test_other_fields_have_the_values_in_the_file():
    rules = loads(
        POLICY
        + """
redis: { url: "rediss://user:secret@redis.example:6380/2", prefix: shop, deadline: 20ms }
headers: { reset: epoch, retry_after_ms: true, should_retry: True }
deny_status: 403
credentials: { prefix: shop, environments: [live] }
transport: { require_tls: true }
identify: { order: [x-api-key, bearer] }
"""
    )
    assert (rules.redis_url, rules.prefix, rules.deadline) == ("rediss://user:secret@redis.example:6380/2", "shop", 0.02)
    assert (rules.reset, rules.retry_after_ms, rules.should_retry, rules.deny_status) == ("epoch", True, True, 403)
    assert (rules.key_prefix, rules.environments, rules.require_tls) == ("shop", {"live"}, True)
    assert rules.order == ("x-api-key", "bearer")
    assert "secret" not in repr(rules)


def test_redis_may_be_just_a_url():
    assert loads(POLICY + "redis: redis://localhost:6379/0").redis_url == "redis://localhost:6379/0"


def test_text_stays_text_however_yaml_would_read_it():
    """`on`, `1e3` and `007` are ordinary names. An empty field has its default."""
    rules = loads('policies: {on: {limits: [1/second]}, 1e3: {limits: [1/second], failure: }, "007": {limits: [1/second]}}\ntiers:\n')
    assert list(rules.policies) == ["on", "1e3", "007"]


def test_the_digest_identifies_the_content():
    assert loads(POLICY).digest == loads(POLICY).digest != loads(POLICY + "\n").digest


def test_a_byte_order_mark_and_windows_line_endings_are_accepted():
    assert loads("\ufeff" + POLICY.replace("\n", "\r\n")).policies.keys() == {"standard", "big"}


def test_load_reads_a_file(tmp_path):
    path = tmp_path / "limiter.yaml"
    path.write_text(POLICY, "utf-8")
    assert load(path).digest == loads(POLICY).digest


@pytest.mark.parametrize("name", ["missing.yaml", ".", "no/such/folder.yaml", "null\0byte"])
def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path, name):
    with pytest.raises(ConfigError, match=":1: file: cannot be read: "):
        load(tmp_path / name)


def test_a_file_that_is_not_utf_8_is_a_mistake_on_its_line(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("# ok\nfailure: größe\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml:2: file: must be UTF-8: byte 0xf6 is not valid"):
        load(path)


def test_the_starting_file_is_valid_without_warnings():
    rules = loads(starting_file())
    assert rules.warnings == ()
    assert not rules.keys
    assert rules.route("GET", "/health").exempt


def test_the_commented_fields_of_the_starting_file_are_valid():
    text = starting_file()
    for line in ("# keys:", "#   - { name", "# redis:", "#   url", "#   deadline", "  # - {"):
        assert line in text
        text = text.replace(line, line.replace("# ", "", 1).replace("#  ", "  ", 1))
    rules = loads(text.replace("<64 hexadecimal digits>", DIGEST))
    assert rules.keys[DIGEST].name == "ci"
    assert rules.route("POST", "/convert/x").cost == 5


def test_the_starting_file_is_the_one_beside_the_code():
    here = Path(__file__).parents[3] / "api" / "config" / "starting.yaml"
    assert starting_file() == here.read_text("utf-8")
