"""How requests and responses pass through the proxy."""

import contextlib
import gzip
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from support.proxy.proxying import proxying
from support.proxy.raw_client import Client, get, request
from support.proxy.raw_upstream import OK, Peer, Upstream, answering


def through(*lines: str, target: str = "/", response: bytes = OK, method: str = "GET", **options):
    """Sends one request through a proxy. Returns the request that upstream received and the response that the client got."""
    seen = []
    with answering(response, seen=seen) as upstream, proxying(upstream.url, **options) as port:
        answer = get(port, target, *lines, method=method)
    return seen[0], answer


@pytest.mark.parametrize(
    "target",
    ["/", "//a//b", "/a/../b/./c", "/a%2Fb%2e%2E/c", "/%zz", "/a?", "/a?x=1&y=%20+&&=", "/a?b?c", "/a;p=1:@!$'()*", "/%00"],
)
def test_path_and_query_are_passed_on_byte_for_byte(target):
    seen, _ = through(target=target)
    assert seen.target == target.encode()


def test_a_base_path_goes_before_every_path():
    seen = []
    with answering(seen=seen) as upstream, proxying(upstream.url + "/v2/") as port:
        get(port, "/things?x=1")
        get(port, "/../things")
    assert [each.target for each in seen] == [b"/v2/things?x=1", b"/v2/../things"]


def test_options_with_an_asterisk_is_passed_on():
    seen, _ = through(target="*", method="OPTIONS")
    assert (seen.method, seen.target) == (b"OPTIONS", b"*")


@pytest.mark.parametrize("target", ["/a?b=1", "/a?", "/a%2Fb", "//a", "/?b=http://c", "?b", ""])
def test_a_target_in_absolute_form_is_passed_on_by_its_path(target):
    seen, _ = through(target=f"http://api.test{target}")
    expected = target if target.startswith("/") else f"/{target}"
    assert (seen.target.decode(), seen.values(b"host")) == (expected, [b"api.test"])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_methods_are_passed_on(method):
    seen, answer = through(method=method)
    assert (seen.method, answer.status, answer.body) == (method.encode(), 200, b"ok")


def test_headers_are_passed_on_with_their_order_and_duplicates():
    seen, _ = through("X-A: 1", "Cookie: a=b", "X-A: 2", "X-Empty:", "X-Latin: \xe9", 'If-None-Match: "x"')
    wanted = [(b"x-a", b"1"), (b"cookie", b"a=b"), (b"x-a", b"2"), (b"x-empty", b""), (b"x-latin", b"\xe9")]
    assert [header for header in seen.headers if header in wanted] == wanted
    assert seen.values(b"if-none-match") == [b'"x"']


def test_hop_by_hop_headers_are_not_passed_on():
    seen, answer = through(
        "Connection: keep-alive, X-Mine",
        "X-Mine: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "Trailer: X-T",
        "Upgrade: h2c",
        response=b"HTTP/1.1 200 OK\r\nConnection: X-Theirs\r\nX-Theirs: 1\r\nKeep-Alive: timeout=9\r\nUpgrade: h2\r\n"
        b"X-Other: 2\r\nContent-Length: 0\r\n\r\n",
    )
    names = {name for name, _ in seen.headers}
    assert not names & {b"connection", b"x-mine", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"}
    assert not {name for name, _ in answer.headers} & {b"connection", b"x-theirs", b"keep-alive", b"upgrade"}
    assert answer.values(b"x-other") == [b"2"]


def test_a_connection_header_cannot_remove_the_proxys_own_headers():
    with answering(seen=(seen := [])) as upstream, proxying(upstream.url) as port, Client(port) as client:
        nominated = "Connection: close, Host, Content-Length, Via, X-Forwarded-For"
        assert client.send(request("/", nominated, method="POST", body=b"hello")).answer().status == 200
    assert seen[0].values(b"host") == [b"api.test"]
    assert seen[0].values(b"x-forwarded-for") == [b"127.0.0.1"]
    assert (seen[0].values(b"via"), seen[0].body) == ([b"1.1 limiter"], b"hello")


def test_upstream_gets_the_key_that_was_judged():
    """Without it, upstream would read another key, for example a revoked one, in a request that was charged to this one."""
    seen, _ = through("Connection: Authorization, x-api-key", "Authorization: Bearer good", "X-API-Key: other")
    assert seen.values(b"authorization") == [b"Bearer good"]
    assert seen.values(b"x-api-key") == [b"other"]


def test_an_untrusted_peer_cannot_claim_to_be_another():
    seen, _ = through(
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Port: 1",
        "X_Forwarded_For: 6.6.6.6",
        "X-Real-IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
    )
    forwarded = [header for header in seen.headers if b"forwarded" in header[0] or b"real" in header[0]]
    assert sorted(forwarded) == [
        (b"x-forwarded-for", b"127.0.0.1"),
        (b"x-forwarded-host", b"api.test"),
        (b"x-forwarded-proto", b"http"),
    ]


def test_forwarded_headers_of_a_trusted_peer_are_extended():
    seen, _ = through(
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-For: 5.6.7.8, 9.9.9.9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.test",
        "X-Forwarded-Port: 443",
        "Forwarded: for=1.2.3.4",
        trusts=lambda ip: ip == "127.0.0.1",
    )
    assert seen.values(b"x-forwarded-for") == [b"1.2.3.4, 5.6.7.8, 9.9.9.9, 127.0.0.1"]
    assert seen.values(b"x-forwarded-proto") == [b"https"]
    assert seen.values(b"x-forwarded-host") == [b"shop.test"]
    assert seen.values(b"x-forwarded-port") == [b"443"]
    assert seen.values(b"forwarded") == [b"for=1.2.3.4, for=127.0.0.1;proto=http"]


def test_via_is_added_in_both_directions():
    seen, answer = through("Via: 1.0 fred", response=b"HTTP/1.1 200 OK\r\nVia: 1.1 cdn\r\nContent-Length: 0\r\n\r\n")
    assert seen.values(b"via") == [b"1.0 fred", b"1.1 limiter"]
    assert answer.values(b"via") == [b"1.1 cdn", b"1.1 limiter"]


def test_host_can_be_set_to_upstreams():
    with answering(seen=(seen := [])) as upstream, proxying(upstream.url, keeps_host=False) as port:
        get(port)
    assert seen[0].values(b"host") == [b"127.0.0.1:%d" % upstream.port]
    assert seen[0].values(b"x-forwarded-host") == [b"api.test"]


def test_given_headers_replace_upstreams():
    response = b"HTTP/1.1 200 OK\r\nRateLimit: old\r\nratelimit: older\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n"
    _, answer = through(response=response, headers=[(b"RateLimit", b"new"), (b"X-RateLimit-Limit", b"9")])
    assert answer.values(b"ratelimit") == [b"new"]
    assert answer.values(b"x-ratelimit-limit") == [b"9"]
    assert answer.values(b"x-kept") == [b"1"]


def test_a_response_keeps_its_order_and_duplicates_and_gets_a_date():
    _, answer = through(response=b"HTTP/1.1 201 Made\r\nSet-Cookie: a=1\r\nX-B:\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n")
    assert (answer.status, answer.values(b"set-cookie")) == (201, [b"a=1", b"b=2"])
    assert answer.headers[:3] == [(b"set-cookie", b"a=1"), (b"x-b", b""), (b"set-cookie", b"b=2")]
    assert len(answer.values(b"date")) == 1


def test_upstreams_date_is_kept():
    _, answer = through(response=b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
    assert answer.values(b"date") == [b"Thu, 01 Jan 1970 00:00:00 GMT"]


def test_redirects_are_not_followed():
    response = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.test/\r\nContent-Length: 0\r\n\r\n"
    _, answer = through(response=response)
    assert (answer.status, answer.values(b"location")) == (302, [b"http://elsewhere.test/"])


def test_a_compressed_body_passes_unchanged():
    packed = gzip.compress(b"hello" * 100)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    _, answer = through(response=head + packed)
    assert (answer.body, answer.values(b"content-encoding")) == (packed, [b"gzip"])


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
        b"HTTP/1.1 200\r\nContent-Length: 5 \r\n\r\nhello",
    ],
    ids=["length", "chunked", "trailers", "interim", "http-1.0", "no-reason"],
)
def test_a_response_of_any_framing_is_complete_and_its_connection_is_reused(response):
    with answering(response) as upstream, proxying(upstream.url) as port:
        answers = [get(port), get(port)]
    assert [(each.status, each.body) for each in answers] == [(200, b"hello")] * 2
    assert not answers[0].values(b"x-trailer") + answers[0].values(b"link")
    assert len(upstream.peers) == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"])
def test_a_response_can_end_with_its_connection(head):
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(head + b"hello")

    with Upstream(script) as upstream, proxying(upstream.url) as port, Client(port) as client:
        for _ in range(2):
            assert client.send(request()).answer().body == b"hello"
    assert len(upstream.peers) == 2


@pytest.mark.parametrize(
    ("method", "response", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", [b"1000"]),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", []),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n", []),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", []),
        ("GET", b'HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: "x"\r\n\r\n', []),
    ],
)
def test_a_response_without_a_body_ends_with_its_head(method, response, length):
    with answering(response) as upstream, proxying(upstream.url) as port, Client(port) as client:
        for _ in range(2):
            answer = client.send(request(method=method)).answer(method)
            assert answer.status == int(response.split()[1])
            assert answer.values(b"content-length") == length
    assert len(upstream.peers) == 1


@pytest.mark.parametrize(
    "framed",
    [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"],
    ids=["length", "chunked"],
)
def test_a_requests_body_is_passed_on_with_its_framing(framed):
    with answering(seen=(seen := [])) as upstream, proxying(upstream.url) as port, Client(port) as client:
        for _ in range(2):
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framed)
            assert client.answer().body == b"ok"
    assert [each.body for each in seen] == [b"hello"] * 2
    assert bool(seen[0].values(b"transfer-encoding")) == (b"chunked" in framed)
    assert len(upstream.peers) == 1


def test_an_empty_body_keeps_its_length():
    seen, _ = through("Content-Length: 0", method="POST")
    assert seen.values(b"content-length") == [b"0"]


def test_trailers_of_a_request_do_not_become_headers():
    with answering(seen=(seen := [])) as upstream, proxying(upstream.url, trusts=lambda _: True) as port, Client(port) as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nhello\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nX-Admin: 1\r\n\r\n" + request("/2")
        )
        assert [client.answer().body, client.answer().body] == [b"ok", b"ok"]
    assert (seen[0].body, seen[0].values(b"x-forwarded-for")) == (b"hello", [b"127.0.0.1"])
    assert seen[0].values(b"x-admin") == []
    assert (seen[1].target, seen[1].values(b"x-admin")) == (b"/2", [])


def test_pipelined_requests_are_answered_in_their_order():
    responses = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number for number in range(5)]
    with answering(*responses, seen=(seen := [])) as upstream, proxying(upstream.url) as port, Client(port) as client:
        client.send(b"".join(request(f"/{n}", method="POST", body=b"b%d" % n) for n in range(5)))
        assert [client.answer().body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert [(each.target, each.body) for each in seen] == [(b"/%d" % n, b"b%d" % n) for n in range(5)]


def test_a_request_can_arrive_byte_by_byte():
    with answering(seen=(seen := [])) as upstream, proxying(upstream.url) as port, Client(port) as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"\r\n" + request("/slow", "X-A: b", method="PUT", body=b"hello"):
            client.send(bytes([byte]))
        assert client.answer().status == 200
    assert (seen[0].target, seen[0].body) == (b"/slow", b"hello")


def test_a_response_can_arrive_byte_by_byte():
    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while peer.request():
            for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: x\r\n\r\n":
                peer.send(bytes([byte]))

    with Upstream(script) as upstream, proxying(upstream.url) as port:
        assert [get(port).body, get(port).body] == [b"hello"] * 2
    assert len(upstream.peers) == 1


def test_an_http_1_0_client_gets_no_chunks():
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with answering(response, seen=(seen := [])) as upstream, proxying(upstream.url) as port, Client(port) as client:
        answer = client.send(b"GET /old HTTP/1.0\r\n\r\n").answer()
        assert (answer.body, answer.values(b"transfer-encoding")) == (b"hello", [])
    assert seen[0].values(b"host") == [b"127.0.0.1:%d" % upstream.port]
    assert seen[0].values(b"via") == [b"1.0 limiter"]


def test_100_continue_is_sent_when_upstream_sends_it():
    asked = threading.Event()

    def script(peer: Peer) -> None:
        head = peer.head()
        assert dict(head.headers)[b"expect"] == b"100-continue"
        asked.wait(10)
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert peer.body() == b"hello"
        peer.send(OK)
        peer.wait_for_close()

    with Upstream(script) as upstream, proxying(upstream.url) as port, Client(port) as client:
        client.send(request("/", "Expect: 100-continue", "Content-Length: 5", method="POST"))
        asked.set()
        assert client.head().status == 100
        assert client.send(b"hello").answer().body == b"ok"


def test_a_body_that_upstream_refuses_is_not_requested():
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        peer.wait_for_close()

    with Upstream(script) as upstream, proxying(upstream.url) as port, Client(port) as client:
        answer = client.send(request("/", "Expect: 100-continue", "Content-Length: 5", method="POST")).answer()
        assert (answer.status, answer.values(b"connection")) == (413, [b"close"])
        assert client.at_end
    assert upstream.peers[0].closed.is_set()


def test_an_upstream_that_ignores_expectations_does_not_block_the_client():
    with answering(seen=(seen := [])) as upstream, proxying(upstream.url) as port, Client(port) as client:
        client.send(request("/", "Expect: 100-continue", "Content-Length: 5", method="POST"))
        assert client.head().status == 100
        assert client.send(b"hello").answer().body == b"ok"
    assert seen[0].body == b"hello"


def test_a_connection_that_upstream_closes_is_not_reused():
    response = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    with answering(response) as upstream, proxying(upstream.url) as port:
        assert [get(port).body, get(port).body] == [b"ok", b"ok"]
        assert len(upstream.peers) == 2


def test_an_idle_connection_is_closed_after_the_timeout():
    with answering() as upstream, proxying(upstream.url, idle_timeout=0.05) as port:
        get(port)
        assert upstream.peers[0].closed.wait(10)
        assert get(port).body == b"ok"


def test_large_headers_pass_in_both_directions():
    large = "x" * 60_000
    response = b"HTTP/1.1 200 OK\r\nX-Large: " + large.encode() + b"\r\nContent-Length: 0\r\n\r\n"
    seen, answer = through(f"X-Large: {large}", response=response)
    assert seen.values(b"x-large") == answer.values(b"x-large") == [large.encode()]


def test_websocket_gets_501():
    with answering() as upstream, proxying(upstream.url, headers=[(b"ratelimit", b"r")]) as port:
        answer = get(port, "/", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
    assert (answer.status, answer.problem["title"]) == (501, "Not Implemented")
    assert answer.values(b"ratelimit") == [b"r"]
    assert upstream.peers == []


def test_websocket_gets_501_from_a_server_that_supports_it():
    with answering() as upstream, proxying(upstream.url, server={"ws": "websockets-sansio"}) as port:
        lines = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
        assert get(port, "/", *lines).status == 501
    assert upstream.peers == []


def test_upstream_can_listen_on_a_unix_socket(tmp_path):
    path = str(tmp_path / "api.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(10)
        with proxying(f"http+unix://{path.replace('/', '%2F')}/base") as port, Client(port) as client:
            client.send(request("/a"))
            sock, _ = listener.accept()
            with sock:
                assert Peer(sock).request().target == b"/base/a"
                sock.sendall(OK)
                assert client.answer().body == b"ok"


@pytest.mark.parametrize("url", ["", "api", "ftp://api", "http://", "http://api?x", "http://u@api", "http://api:port"])
def test_an_invalid_upstream_url_is_refused_at_once(url):
    with pytest.raises(ValueError, match=r"upstream|Port"), proxying(url):
        pass


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_upstream_can_use_tls_with_a_trusted_certificate_only(tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    extension = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = ["-addext", extension, "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def script(peer: Peer) -> None:
        with contextlib.suppress(ssl.SSLError):
            peer.sock = context.wrap_socket(peer.sock, server_side=True)
            while peer.request():
                peer.send(OK)

    with Upstream(script) as upstream:
        url = f"https://localhost:{upstream.port}"
        with proxying(url) as port:
            assert get(port).values(b"proxy-status") == [b"limiter; error=tls_protocol_error"]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with proxying(url) as port:
            assert [get(port).body, get(port).body] == [b"ok", b"ok"]
    assert len(upstream.peers) == 2
