"""The values that records may have, and their text form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter.api.registry import Account, InvalidRecord, Key, validation
from limiter.api.registry.records import decode_account, decode_key, encode


def key(**values):
    return Key("0" * 20, "acme", "digest", **values)


def test_an_ipv4_network_written_as_ipv6_is_the_ipv4_network():
    assert validation.addresses(["::ffff:203.0.113.0/120", "203.0.113.0/24"]) == ("203.0.113.0/24",)


@pytest.mark.parametrize(
    ("nonsense", "remedy"),
    [
        ("203.0.113.0/33", "must be an IP address or a network"),
        ("203.0.113.300", "must be an IP address or a network"),
        ("2001:db8::/129", "must be an IP address or a network"),
        ("localhost", "must be an IP address or a network"),
        ("", "must be an IP address or a network"),
        ("203.0.113.7/24", "did you mean 203.0.113.0/24 or 203.0.113.7"),
        ("203.0.113.0/24 ", "must be an IP address or a network"),
        ("x" * 10_000, "must be an IP address or a network"),
        (7, "must be an IP address or a network"),
        (None, "must be an IP address or a network"),
        (["10.0.0.0/8"], "must be an IP address or a network"),
    ],
)
def test_the_error_for_an_address_says_what_is_accepted(nonsense, remedy):
    with pytest.raises(InvalidRecord, match="address") as refused:
        validation.addresses([nonsense])
    assert remedy in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("scopes", [["with blank"], [""], ["x" * 65], ["a\n"], "asset:read", [7], [None], None, ["é"], ["s"] * 65])
def test_invalid_scopes_are_refused(scopes):
    with pytest.raises(InvalidRecord, match="scope"):
        validation.scopes(scopes)


@pytest.mark.parametrize("limits", [["100 every minute"], ["0/minute"], "100/minute", [100], ["100/minute", "200/minute"], None, [[]]])
def test_invalid_limits_are_refused(limits):
    with pytest.raises(InvalidRecord, match="limit"):
        validation.limits(limits)


@pytest.mark.parametrize("account", ["", "with blank", "{acme}", "acme:1", "a/b", "-acme", "a" * 65, "acme\n", 7, None, "é"])
def test_invalid_account_ids_are_refused(account):
    with pytest.raises(InvalidRecord, match="account"):
        validation.account_id(account)


@pytest.mark.parametrize("wrong", ["ff_live_rkpxv2hx5drnmvfj4hnwq7k7axw4vzq6", "", "x" * 10_000, "0" * 19, "0" * 21, None])
def test_an_invalid_key_id_is_refused_without_repeating_it(wrong):
    """The caller may have passed a raw key by mistake."""
    with pytest.raises(InvalidRecord, match="key id must be") as refused:
        validation.key_id(wrong)
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
def test_a_key_survives_its_text_form(record):
    assert decode_key("acme", record.id, encode(record)) == record


def test_an_account_survives_its_text_form():
    record = Account("acme", "pro", "suspended", None, ("100/minute",), 1_800_000_000_000_001)
    assert decode_account("acme", encode(record)) == record


def test_the_digest_is_not_in_the_repr_which_may_be_logged():
    assert "digest" not in repr(key())
