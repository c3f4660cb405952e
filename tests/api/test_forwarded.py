"""The original request that a gateway describes, and the address of its client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter.api.forwarded import ConflictingPaths, Original, client_address, original

PROXIES = {"10.0.0.1", "10.0.0.2"}
trusts = PROXIES.__contains__


def asked(path="/authorize", peer="10.0.0.1", method="GET", **headers):
    found = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    scope = {"raw_path": path.encode(), "method": method, "client": (peer, 4711), "scheme": "http"}
    return original(scope, found, trusts)


def test_nginx_sends_x_original_headers():
    request = asked(x_original_method="POST", x_original_uri="/convert/a%2Fb?x=1", x_forwarded_for="203.0.113.7", x_forwarded_proto="https")
    assert request == Original("POST", "/convert/a%2Fb", "203.0.113.7", "https")


def test_traefik_and_caddy_send_x_forwarded_headers():
    request = asked(x_forwarded_method="DELETE", x_forwarded_uri="/files/1?x", x_forwarded_for="203.0.113.7", x_forwarded_proto="https")
    assert request == Original("DELETE", "/files/1", "203.0.113.7", "https")


def test_envoy_sends_the_original_method_and_path():
    assert asked("/authorize/files/1", method="PUT", x_forwarded_for="203.0.113.7") == Original("PUT", "/files/1", "203.0.113.7", "http")


def test_the_headers_of_untrusted_peers_are_ignored():
    request = asked("/authorize/x", peer="203.0.113.9", x_original_uri="/free", x_forwarded_for="198.51.100.1", x_forwarded_proto="https")
    assert request == Original("GET", "/x", "203.0.113.9", "http")


@pytest.mark.parametrize("headers", [{"x_original_uri": "/a", "x_forwarded_uri": "/b"}, {"path": "/authorize/a", "x_original_uri": "/b"}])
def test_conflicting_original_paths_are_refused(headers):
    with pytest.raises(ConflictingPaths):
        asked(**headers)


def test_several_sources_may_name_the_same_path():
    assert asked("/authorize/a", x_forwarded_uri="/a?b").path == "/a"


@pytest.mark.parametrize(
    ("forwarded_for", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.2", "10.0.0.2"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, unknown", "10.0.0.1"),
        ("203.0.113.7, unknown, 10.0.0.2", "10.0.0.2"),
        ("", "10.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_a_trusted_proxy(forwarded_for, address):
    assert client_address("10.0.0.1", {b"x-forwarded-for": forwarded_for.encode()}, trusts) == address


@given(st.text(), st.sampled_from(["203.0.113.7", "2001:db8::7"]))
def test_addresses_that_the_client_wrote_are_ignored(written, address):
    forwarded_for = f"{written}, {address}, 10.0.0.2".encode("latin-1", "replace")
    assert client_address("10.0.0.1", {b"x-forwarded-for": forwarded_for}, trusts) == address
