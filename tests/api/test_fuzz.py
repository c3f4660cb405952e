"""Any request is answered without a 500, a traceback or a hang, and as the OpenAPI documents describe."""

import contextlib
import itertools
import socket
from unittest import SkipTest

import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig

from support.examples import examples
from support.servers.sidecar import TOKEN

PROMISES = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
]
CHECKED = load_all_checks() or CHECKS.get_by_names(PROMISES)
# Data that is too large is rejected with 413 before it is validated.
REJECTIONS = {"negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]}}
TRIES = settings(examples(12), suppress_health_check=list(HealthCheck))


def fuzz(document, url, headers):
    """Calls every operation of the document with valid and with invalid data."""
    # Generated credentials would be replaced by those that the test sends.
    config = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": not headers}, "checks": REJECTIONS})
    schema = schemathesis.openapi.from_dict(document, config=config)
    with requests.Session() as session:
        for found, mode in itertools.product(list(schema.get_all_operations()), GenerationMode):
            operation = found.ok()

            @given(case=operation.as_strategy(generation_mode=mode))
            @TRIES
            def run(case):
                case.call_and_validate(base_url=url, session=session, headers=headers, checks=CHECKED, timeout=10)

            # Some operations have no invalid input.
            with contextlib.suppress(Unsatisfiable, SkipTest):
                run()


def test_the_front_conforms_to_its_openapi_document(shared):
    fuzz(shared.manage("/front/openapi.json").json(), shared.front, {})


def test_the_control_plane_conforms_to_its_openapi_document(shared):
    fuzz(shared.manage("/openapi.json").json(), shared.admin, {"Authorization": f"Bearer {TOKEN}"})


ORIGINAL = ["X-Original-URI", "X-Original-Method", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-For", "X-Forwarded-Proto"]
FRAMING = ["Content-Length", "Content-Type", "Transfer-Encoding", "Expect", "Connection", "Host", "Upgrade"]
NAMES = st.sampled_from(["Authorization", "X-API-Key", *ORIGINAL, *FRAMING])
LINES = st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n")
VALUES = st.one_of(
    st.text(LINES, max_size=60), st.sampled_from(["Bearer x", "Bearer ", "chunked", "0", "5", "100-continue", "close", "websocket"])
)
PATHS = st.one_of(
    st.sampled_from(["/authorize", "/v1/take", "/v1/refund", "*", "http://x/authorize"]),
    st.text(LINES, max_size=80).map(lambda text: "/authorize/" + text),
)
METHODS = st.one_of(st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "CONNECT", "TRACE"]), st.text(LINES, min_size=1, max_size=8))


@given(METHODS, PATHS, st.lists(st.tuples(NAMES, VALUES), max_size=6), st.binary(max_size=100))
@examples(150)
def test_any_request_is_answered_or_its_connection_is_closed(shared, method, path, headers, body):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers), "", ""]
    with socket.create_connection(("127.0.0.1", shared.port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + body)
        # The end of the stream ends the server's wait for the rest of an incomplete request.
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: received(connection), b""))
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert not answer.startswith(b"HTTP/1.1 500")
    assert b"Traceback" not in answer


def received(connection):
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""
