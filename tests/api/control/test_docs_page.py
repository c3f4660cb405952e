"""The documentation page, in a real Chromium that can reach nothing but the admin listener."""

import json

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from support.sidecar import TOKEN, ask

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,1600",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


class Page:
    """`see` and `all` wait for elements, found by CSS."""

    def __init__(self, driver, url) -> None:
        self.driver, self.url = driver, url

    def open(self, fragment=""):
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/docs{fragment}")

    def all(self, css):
        return WebDriverWait(self.driver, 20).until(lambda driver: driver.find_elements(By.CSS_SELECTOR, css), css)

    def see(self, css, text=""):
        return WebDriverWait(self.driver, 20).until(lambda _: next((each for each in self.all(css) if text in each.text), None), f"{css}: {text}")

    def log_in(self, token):
        self.see("#token").send_keys(token)
        self.see("#login button").click()

    @property
    def requested(self):
        """The URLs of all requests since the last call."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def driver():
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chrome(options, ChromeService("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture
def page(driver, shared):
    page = Page(driver, shared.admin)
    page.open()
    driver.execute_script("sessionStorage.clear()")
    page.open()
    yield page
    assert [each["message"] for each in driver.get_log("browser") if each["level"] == "SEVERE" and " 401 " not in each["message"]] == []


def test_the_token_in_the_form_shows_the_operations_and_executes_one(page, shared):
    page.log_in(TOKEN)
    page.see("#operations-configuration-list_policies button").click()
    page.see(".try-out button").click()
    page.see(".execute").click()
    assert page.see(".live-responses-table .response-col_status").text
    assert TOKEN not in page.see("body").text
    page.driver.save_screenshot("/tmp/ctl/executed.png")
    assert all(url.startswith((f"{shared.admin}/", "data:", "about:", "blob:")) for url in page.requested)
