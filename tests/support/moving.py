"""The pages in docs/moving: their blocks, and applications that the tests call."""

import re
from contextlib import contextmanager

from starlette.testclient import TestClient

from support.pages import ROOT

FOLDER = ROOT / "docs/moving"
# A block has the name of the limiter that it is for.
_BLOCK = r'(?ms)^```(\w+) title="([^"]+)"\n(.*?)^```'
# No Redis listens there.
NOWHERE = "redis://127.0.0.1:1"
ACCOUNT = {"x-account": "acme"}


def titled(page: str) -> dict[str, tuple[str, str]]:
    """The blocks of a page by title: language and code."""
    return {title: (language, code) for language, title, code in re.findall(_BLOCK, (FOLDER / f"{page}.md").read_text())}


def block(page: str, title: str) -> str:
    return titled(page)[title][1]


def run(code: str, url: str) -> dict:
    """What a Python block defines, with its Redis at another URL."""
    names = {"__name__": "shop"}
    exec(compile(code.replace("redis://localhost", url), "page", "exec"), names)  # noqa: S102 - running the examples is the test
    return names


@contextmanager
def called(app):
    """A function that calls an application of FastAPI or Flask, and returns its response."""
    if hasattr(app, "test_client"):
        client = app.test_client()
        yield lambda method, path, headers=None: client.open(path, method=method, headers=headers or {})
    else:
        with TestClient(app, raise_server_exceptions=False) as client:
            yield lambda method, path, headers=None: client.request(method, path, headers=headers or {})


def admitted(call, *requests, most=110) -> tuple[int, int]:
    """How many requests are admitted if these are repeated, and the status of the first that is not."""
    for number in range(most):
        status = call(*requests[number % len(requests)]).status_code
        if status in (403, 429, 503):
            return number, status
    return most, 0
