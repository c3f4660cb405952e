"""Keys as data: where they may be used from and what for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter.api.registry import Account, InvalidRecord, Key, checks
from limiter.api.registry.codec import decode_account, decode_key, encode


def key(**values):
    return Key("0" * 20, "acme", "digest", **values)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("203.0.113.7", True),
        ("::ffff:203.0.113.7", True),
        ("203.0.114.7", False),
        ("::ffff:203.0.114.7", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("198.51.100.4", True),
        ("198.51.100.5", False),
        ("", False),
        ("unix:", False),
        ("203.0.113.7, 10.0.0.1", False),
    ],
)
def test_a_key_is_allowed_from_its_networks_only(address, allowed):
    addresses = checks.addresses(["203.0.113.0/24", "2001:db8::/32", "198.51.100.4"])
    assert key(addresses=addresses).allows_address(address) is allowed


def test_a_key_without_addresses_is_allowed_from_everywhere():
    assert key().allows_address("203.0.113.7")
    assert key().allows_address("nonsense")


def test_a_network_given_as_mapped_is_the_ipv4_network():
    assert checks.addresses(["::ffff:203.0.113.0/120", "203.0.113.0/24"]) == ("203.0.113.0/24",)


@pytest.mark.parametrize(
    ("nonsense", "remedy"),
    [
        ("203.0.113.0/33", "use an address or a network"),
        ("203.0.113.300", "use an address or a network"),
        ("2001:db8::/129", "use an address or a network"),
        ("localhost", "use an address or a network"),
        ("", "use an address or a network"),
        ("203.0.113.7/24", "did you mean 203.0.113.0/24 or 203.0.113.7"),
        ("203.0.113.0/24 ", "use an address or a network"),
        ("x" * 10_000, "use an address or a network"),
        (7, "use an address or a network"),
        (None, "use an address or a network"),
        (["10.0.0.0/8"], "use an address or a network"),
    ],
)
def test_addresses_that_are_nonsense_are_refused_by_name_and_with_the_remedy(nonsense, remedy):
    with pytest.raises(InvalidRecord, match="address") as refused:
        checks.addresses([nonsense])
    assert remedy in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("scopes", [["with blank"], [""], ["x" * 65], ["a\n"], "asset:read", [7], [None], None, ["é"], ["s"] * 65])
def test_scopes_that_cannot_be_are_refused(scopes):
    with pytest.raises(InvalidRecord, match="scope"):
        checks.scopes(scopes)


@pytest.mark.parametrize("limits", [["100 every minute"], ["0/minute"], "100/minute", [100], ["100/minute", "200/minute"], None, [[]]])
def test_limits_that_cannot_be_are_refused(limits):
    with pytest.raises(InvalidRecord, match="limit"):
        checks.limits(limits)


@pytest.mark.parametrize("account", ["", "with blank", "{acme}", "acme:1", "a/b", "-acme", "a" * 65, "acme\n", 7, None, "é"])
def test_names_of_accounts_that_would_not_do_as_keys_are_refused(account):
    with pytest.raises(InvalidRecord, match="account"):
        checks.account_id(account)


@pytest.mark.parametrize("wrong", ["ff_live_rkpxv2hx5drnmvfj4hnwq7k7axw4vzq6", "", "x" * 10_000, "0" * 19, "0" * 21, None])
def test_what_is_no_id_of_a_key_is_refused_without_repeating_it(wrong):
    """Somebody may give the raw key in its place."""
    with pytest.raises(InvalidRecord, match="no id of a key") as refused:
        checks.key_id(wrong)
    assert len(str(refused.value)) < 200
    assert not wrong or wrong not in str(refused.value)


@given(
    st.builds(
        key,
        name=st.text(max_size=100),
        scopes=st.lists(st.text()).map(tuple),
        expires_us=st.none() | st.integers(0, 2**53),
        first=st.none() | st.text(min_size=1),
        policy=st.none() | st.text(min_size=1),
    )
)
def test_a_key_is_read_as_it_was_written(record):
    assert decode_key("acme", record.id, encode(record)) == record


def test_an_account_is_read_as_it_was_written():
    record = Account("acme", "pro", "suspended", None, ("100/minute",), 1_800_000_000_000_001)
    assert decode_account("acme", encode(record)) == record


def test_no_digest_shows_in_what_may_be_logged():
    assert "digest" not in repr(key())
