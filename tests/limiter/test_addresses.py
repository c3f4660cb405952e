"""IP addresses as subjects."""

import pytest

from limiter.addresses import subject_of


@pytest.mark.parametrize(
    ("address", "subject"),
    [("203.0.113.7", "203.0.113.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("::ffff:203.0.113.7", "203.0.113.7"), ("", "unknown")],
)
def test_an_ipv6_customer_is_one_subject(address, subject):
    assert subject_of(address) == subject
