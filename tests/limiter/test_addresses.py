"""IP addresses as subjects."""

import pytest

from limiter.addresses import normalize, subject_of


@pytest.mark.parametrize(
    ("address", "subject"),
    [("203.0.113.7", "203.0.113.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("::ffff:203.0.113.7", "203.0.113.7"), ("", "unknown")],
)
def test_an_ipv6_customer_is_one_subject(address, subject):
    assert subject_of(address) == subject


@pytest.mark.parametrize("zone", ["eth0", "a b", "{x}", "\x00\x7f", "\x80"])
def test_the_zone_of_an_address_is_dropped(zone):
    """A client can write any text into a zone, and the address appears in logs and in the audit."""
    assert (normalize(f"fe80::1%{zone}"), subject_of(f"fe80::1%{zone}")) == ("fe80::1", "fe80::/64")
