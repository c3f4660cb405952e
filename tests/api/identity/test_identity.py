"""The judge: which requests an identity may make."""

import pytest

from limiter import Policy
from limiter.addresses import parse_network
from limiter.api.identity import Identity
from limiter.api.identity.identity import EXPIRED, REVOKED, SUSPENDED, WRONG_ADDRESS, WRONG_ENVIRONMENT, reason_to_bar
from limiter.api.registry import validation

POLICY = Policy("standard", ["100/minute"])


def identity(*addresses, **values):
    return Identity("key-1", "acme", POLICY, networks=tuple(map(parse_network, validation.addresses(addresses))), **values)


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
    bound = identity("203.0.113.0/24", "2001:db8::/32", "198.51.100.4")
    for _ in range(2):
        assert bound.refusal(None, address, 0) is (None if allowed else WRONG_ADDRESS)


def test_a_key_without_addresses_is_allowed_from_everywhere():
    assert identity().refusal(None, "203.0.113.7", 0) is None
    assert identity().refusal(None, "nonsense", 0) is None


def test_the_addresses_that_an_identity_remembers_are_bounded():
    bound = identity("10.0.0.0/8")
    for i in range(1000):
        assert bound.refusal(None, f"10.0.{i // 256}.{i % 256}", 0) is None
    assert len(bound.admitted) <= 64


REASONS = {"revoked": REVOKED, "suspended": SUSPENDED, "elsewhere": WRONG_ENVIRONMENT}


@pytest.mark.parametrize("first", range(3))
def test_if_several_reasons_apply_the_first_one_is_given(first):
    """Revoked, expired, suspended, another environment, not configured, address, scope."""
    applying = {name: place >= first for place, name in enumerate(REASONS)}
    bar = reason_to_bar(**applying, configured=False)
    assert bar is list(REASONS.values())[first]
    assert identity("10.0.0.0/8", barred=bar).refusal("asset:read", "nonsense", 0) is bar
    assert identity("10.0.0.0/8", barred=bar, expires_us=7).refusal(None, "", 7) is (REVOKED if bar is REVOKED else EXPIRED)
    assert identity("10.0.0.0/8").refusal("asset:read", "nonsense", 0) is WRONG_ADDRESS
