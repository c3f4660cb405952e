"""The report in a real Chromium: nothing is cut off, nothing is loaded, and what it shows is what was judged."""

import re
import shutil

import pytest
from judge.ledger import Ledger, Ledgers
from judge.requests import Request
from judge.verdict import Thresholds, judged
from report.page import Facts, page
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from limiter import parse_limit

FLAGS = ["headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-component-update"]
LIMITS = ["20/5s", "burst 24, 100/minute", "quota 100000/day"]
# Every element whose text or box leaves the picture that contains it, or the window.
CUT_OFF = """
const out = [], near = 1;
for (const each of document.querySelectorAll('svg text, svg rect, svg path')) {
  const box = each.getBoundingClientRect(), frame = each.ownerSVGElement.getBoundingClientRect();
  if (each.closest('clipPath')) continue;
  if (box.left < frame.left - near || box.right > frame.right + near || box.top < frame.top - near || box.bottom > frame.bottom + near)
    out.push([each.tagName, each.textContent]);
}
return [out, document.documentElement.scrollWidth > innerWidth];
"""
# Pairs of texts that overlap within one picture.
OVERLAPPING = """
const out = [];
for (const svg of document.querySelectorAll('svg')) {
  const texts = [...svg.querySelectorAll('text')].map(each => [each.textContent, each.getBoundingClientRect()]);
  for (const [i, [one, a]] of texts.entries()) for (const [two, b] of texts.slice(i + 1))
    if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3) out.push([one, two]);
}
return out;
"""


@pytest.fixture(scope="module")
def browser():
    paths = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if None in paths.values():
        pytest.fail("chromium or chromedriver is not on PATH: `make test` installs both on Debian (chromium, chromium-driver)")
    options = ChromeOptions()
    options.binary_location = paths["chromium"]
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    driver = Chrome(options=options, service=ChromeService(paths["chromedriver"]))
    yield driver
    driver.quit()


def verdict(*, admitted: int, keys: int, capacity_stated: float = 20.0):
    """Each key sends 30 requests at once, three times; each has another amount of milliseconds for its responses."""
    limits = [parse_limit(text) for text in LIMITS]
    ledgers = []
    for number in range(keys):
        requests = [
            Request(
                at + 0.01 * place,
                at + 0.01 * place + 0.001 * (number + place % 7),
                200 if place < admitted else 429,
                capacity=capacity_stated,
                name="GET /",
            )
            for at in (10.0, 40.0, 70.0)
            for place in range(30)
        ]
        ledgers.append(Ledgers(Ledger(f"key {number + 1}", limits, requests)))
    notes = ["The load generator was a bottleneck: this process used up to 97 % of a core."] if admitted > 20 else []
    return judged(ledgers, Thresholds(), 0.0, notes=notes)


FACTS = Facts("http://127.0.0.1:8080/a-path?that=<is>&long", "edge", 0.0, 90.0)


@pytest.fixture(params=["held", "exceeded", "empty", "huge"])
def written(request, tmp_path):
    found = {
        "held": lambda: verdict(admitted=20, keys=2),
        "exceeded": lambda: verdict(admitted=21, keys=2, capacity_stated=21),
        "empty": lambda: judged([], Thresholds(), 0.0),
        "huge": lambda: verdict(admitted=25, keys=250),
    }[request.param]()
    path = tmp_path / "report.html"
    path.write_text(page(found, FACTS))
    return path


@pytest.mark.parametrize("width", [1200, 700])
def test_nothing_is_cut_off_or_overlaps(browser, written, width):
    browser.set_window_size(width, 1000)
    browser.get(f"file://{written}")
    assert browser.execute_script(CUT_OFF) == [[], False]
    assert browser.execute_script(OVERLAPPING) == []


def test_the_report_loads_and_runs_nothing(written):
    text = written.read_text()
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\((?!#)|javascript:| on\w+=", text)
    assert "that=&lt;is&gt;&amp;long" in text


def test_the_verdict_comes_first(browser, tmp_path):
    for admitted, said in ((20, "The limits were held"), (21, "Failed")):
        (tmp_path / "report.html").write_text(page(verdict(admitted=admitted, keys=2), FACTS))
        browser.get(f"file://{tmp_path}/report.html")
        assert browser.find_element("css selector", "main > :nth-child(2)").text.splitlines()[0] == said


def test_only_what_is_above_a_limit_is_red():
    held, exceeded = page(verdict(admitted=20, keys=1), FACTS), page(verdict(admitted=21, keys=1), FACTS)
    assert 'class="over"' not in held
    # The window is exceeded, and the bucket and the quota are not.
    assert exceeded.count('class="over"') == 1
    assert exceeded.count("21 admitted within 5 s, above the limit of 20") == 3
