"""A page of another origin calls the sidecar as a proxy, in a real Chromium."""

import pytest

from support.browser import chromium
from support.servers.echo_upstream import echo_upstream
from support.servers.fronts import fronts
from support.servers.sidecar import digest

CONFIG = """
policies:
  standard: {{ limits: [2/minute] }}
tiers:
  free: {{ key: standard }}
redis: {{ deadline: 5s, prefix: {prefix} }}
keys:
  - {{ name: app, digest: "sha256:{digest}", tier: free }}
{more}
"""

# What a script of the page can read of the response.
FETCH = """
const [url, key, done] = arguments;
fetch(url, {method: "PUT", headers: {"X-API-Key": key, "Content-Type": "application/json"}, body: "{}"}).then(
  async response => done([
    response.status,
    response.headers.get("X-RateLimit-Remaining"),
    response.headers.get("RateLimit"),
    response.headers.get("Retry-After"),
    (await response.json()).title || "",
  ]),
  error => done([String(error)]),
);
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def page(browser):
    """A web site: the origin of the page that calls."""
    with echo_upstream() as site:
        browser.get(f"{site.url}/page")
        yield site.url


def fetch(browser, server, upstream, prefix, times, more="", key="app-secret"):
    text = CONFIG.format(prefix=prefix, digest=digest("app-secret"), more=more)
    with fronts(server.url, proxy=(text, upstream.url)) as (port,):
        return [browser.execute_async_script(FETCH, f"http://127.0.0.1:{port}/items", key) for _ in range(times)]


def test_a_page_reads_its_numbers_and_then_when_to_retry(browser, page, server, prefix):
    with echo_upstream() as upstream:
        first, second, denied = fetch(browser, server, upstream, prefix, 3, f"cors: {{ origins: ['{page}'] }}")
        methods = [method for method, _ in upstream.seen]
    assert first[:4] == [200, "1", '"minute";r=1;t=60', None]
    assert second[:2] == [200, "0"]
    assert denied[:2] == [429, "0"]
    assert 1 <= int(denied[3]) <= 60
    assert "quota" in denied[4]
    assert methods == ["PUT", "PUT"]


def test_a_page_reads_why_its_key_is_refused(browser, page, server, prefix):
    with echo_upstream() as upstream:
        (refused,) = fetch(browser, server, upstream, prefix, 1, f"cors: {{ origins: ['{page}'] }}", key="wrong")
    assert (refused[0], refused[4]) == (401, "Unauthorized")


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("more", ["", "cors: { origins: [https://app.example.com] }"])
def test_a_page_that_may_not_call_reads_nothing_and_charges_nothing(browser, server, prefix, more):
    with echo_upstream() as upstream:
        assert fetch(browser, server, upstream, prefix, 1, more) == [["TypeError: Failed to fetch"]]
        assert upstream.seen == []
