"""The heads that the proxy sends, for any headers that it receives."""

import string

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter.api.proxy.proxy_errors import RequestRefused
from limiter.api.proxy.request_head import RequestTranslator
from limiter.api.proxy.response_head import ResponseHead, response_headers

TOKEN = st.text(string.ascii_lowercase + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=20).map(str.encode)
VALUE = st.text(string.ascii_letters + string.digits + string.punctuation + "\xe9", max_size=40).map(lambda text: text.encode("latin-1"))
SPECIAL = ["connection", "via", "te", "upgrade", "forwarded", "x-forwarded-for", "keep-alive", "x-real-ip", "date"]
HEADERS = st.lists(st.tuples(TOKEN | st.sampled_from(SPECIAL).map(str.encode), VALUE), max_size=12)
TRANSLATOR = RequestTranslator(b"/base", b"up.test", keeps_host=True, trusts=lambda ip: ip == "10.0.0.1")


def scope(headers, **changes):
    return {
        "type": "http",
        "method": "GET",
        "raw_path": b"/a",
        "query_string": b"",
        "scheme": "http",
        "http_version": "1.1",
        "client": ("10.0.0.9", 1),
        "headers": [(b"host", b"api.test"), *headers],
        **changes,
    }


@given(HEADERS, st.sampled_from(["10.0.0.1", "10.0.0.9"]))
def test_any_headers_make_exactly_one_request(headers, peer):
    headers = [header for header in headers if header[0] not in (b"upgrade", b"host", b"content-length", b"expect")]
    sent = TRANSLATOR.translate(scope(headers, client=(peer, 1)))
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    reader.receive_data(sent.head)
    request = reader.next_event()
    assert (request.method, request.target) == (b"GET", b"/base/a")
    assert isinstance(reader.next_event(), h11.EndOfMessage)
    assert reader.trailing_data == (b"", False)
    names = [name for name, _ in request.headers]
    assert names.count(b"host") == names.count(b"x-forwarded-for") == names.count(b"x-forwarded-proto") == 1
    assert not {b"connection", b"te", b"keep-alive", b"upgrade"} & set(names)
    assert request.headers[-1] == (b"via", b"1.1 limiter")


@given(HEADERS)
def test_forwarded_headers_of_an_untrusted_peer_are_dropped(headers):
    headers = [(name, b"lie") for name, _ in headers if name != b"upgrade"]
    head = TRANSLATOR.translate(scope([*headers, (b"x-forwarded-for", b"lie"), (b"x_real_ip", b"lie")])).head
    assert [line for line in head.split(b"\r\n") if line.startswith((b"x-forwarded-for", b"x_real", b"x-real"))] == [
        b"x-forwarded-for: 10.0.0.9"
    ]


@pytest.mark.parametrize("bad", [b"a\r\nGET / HTTP/1.1", b"a\nb", b"a\rb", b"a\0b"])
def test_a_line_break_in_a_header_is_refused(bad):
    for changes in (scope([(b"x", bad)]), {"raw_path": b"/" + bad}, {"query_string": bad}):
        with pytest.raises(RequestRefused):
            TRANSLATOR.translate({**scope([]), **changes})


@given(HEADERS, HEADERS)
def test_our_headers_replace_upstreams(theirs, ours):
    ours = [(b"x-" + name.title(), value) for name, value in ours]
    headers = response_headers(ResponseHead.of("1.1", 200, [*theirs, *((n.lower(), b"old") for n, _ in ours)]), ours)
    replaced = {name.lower() for name, _ in ours}
    assert [header for header in headers if header[0].lower() in replaced] == ours


def test_an_ipv6_peer_is_quoted_in_forwarded():
    headers = [(b"forwarded", b"for=1.2.3.4")]
    translator = RequestTranslator(b"", b"up.test", keeps_host=True, trusts=lambda _: True)
    head = translator.translate(scope(headers, client=("2001:db8::1", 1), scheme="https")).head
    assert b'\r\nforwarded: for=1.2.3.4, for="[2001:db8::1]";proto=https\r\n' in head
    assert b"\r\nx-forwarded-for: 2001:db8::1\r\n" in head
