"""The documentation page, in a real Chromium that can reach nothing except this machine."""

import json

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from support.browser import chromium
from support.servers.sidecar import TOKEN, ask

LOGS = {"performance": "ALL", "browser": "ALL"}


class Page:
    """A tab of the browser, on the page of a sidecar."""

    def __init__(self, driver, admin) -> None:
        self.driver, self._admin = driver, admin

    def open(self, fragment=""):
        self.driver.get("about:blank")
        self.driver.get(f"{self._admin}/docs{fragment}")

    def see(self, css, text=""):
        """The first visible element with this text; waits for it."""

        def find(driver):
            found = driver.find_elements(By.CSS_SELECTOR, css)
            return next((each for each in found if each.is_displayed() and text in each.text), None)

        return WebDriverWait(self.driver, 20).until(find, f"{css} {text}")

    def click(self, css):
        self.see(css).click()

    def log_in(self, token):
        self.see("#token").send_keys(token)
        self.click("#login button")

    def count(self, css):
        return len(self.driver.find_elements(By.CSS_SELECTOR, css))

    @property
    def stored(self):
        return self.driver.execute_script("return [...Object.values(sessionStorage), ...Object.values(localStorage), document.cookie]")

    @property
    def requested(self):
        """The URLs of all requests so far, without those of images inside style sheets."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith("data:")]

    @property
    def errors(self):
        """What the browser blocked or failed to run."""
        return [each["message"] for each in self.driver.get_log("browser") if each["level"] == "SEVERE" and " 401 " not in each["message"]]


@pytest.fixture(scope="module")
def browser():
    with chromium(LOGS) as driver:
        yield driver


@pytest.fixture
def page(browser, shared):
    """A new tab, so nothing is stored yet and nothing is logged."""
    (first,) = browser.window_handles
    browser.switch_to.new_window("tab")
    for log in LOGS:
        browser.get_log(log)
    yield Page(browser, shared.admin)
    browser.close()
    browser.switch_to.window(first)


def test_the_login_form_opens_the_operations_and_a_call_succeeds(page, shared):
    page.open()
    page.log_in(TOKEN)
    page.click("#operations-configuration-list_policies button")
    page.click(".try-out button")
    page.click(".execute")
    page.see(".live-responses-table .response-col_status", "200")
    assert "by-address" in page.see(".live-responses-table").text
    assert TOKEN not in page.see("body").text
    requested = page.requested
    assert f"{shared.admin}/policies" in requested
    assert [url for url in requested if not url.startswith(f"{shared.admin}/") or TOKEN in url] == []
    assert page.errors == []


def test_a_token_in_the_fragment_logs_in_and_leaves_the_address_bar(page, shared):
    page.open(f"#token={TOKEN}")
    page.see("#operations-health-check_health")
    assert page.driver.current_url == f"{shared.admin}/docs/"
    page.driver.refresh()
    page.see("#operations-health-check_health")
    assert page.stored == [TOKEN, ""]
    assert [url for url in page.requested if TOKEN in url] == []
    page.click("#logout")
    page.see("#login")
    assert (page.stored, page.count(".opblock")) == ([""], 0)


def test_the_front_listeners_document_is_shown_without_calls(page):
    page.open(f"#token={TOKEN}")
    Select(page.see("#document")).select_by_visible_text("Front listener")
    page.click("#operations-decisions-take button")
    page.see(".opblock-description", "A denial charges nothing.")
    assert page.count(".try-out") == 0
    Select(page.see("#document")).select_by_visible_text("Admin API")
    page.see("#operations-health-check_health")
    assert page.errors == []


def test_a_wrong_token_shows_nothing_and_is_forgotten(page):
    page.open()
    page.log_in("wrong")
    page.see("#message", "This is not the admin token.")
    assert (page.stored, page.count(".opblock")) == ([""], 0)


@pytest.mark.parametrize("path", ["/docs/", "/docs/docs.js", "/docs/swagger-ui/swagger-ui-bundle.js"])
def test_the_page_is_public_and_hardened(shared, path):
    reply = ask(shared.admin, path)
    assert reply.status == 200
    policy = dict(each.strip().split(" ", 1) for each in reply.headers["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["script-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'none'")
    assert "unsafe" not in str(policy)
    assert (reply.headers["Referrer-Policy"], reply.headers["X-Content-Type-Options"]) == ("no-referrer", "nosniff")
    assert reply.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", ["/docs/nothing", "/docs/../policies", "/docs/%2e%2e/admin.py", "/docsx"])
def test_nothing_beside_the_page_is_public(shared, path):
    assert ask(shared.admin, path).status in (401, 404)
