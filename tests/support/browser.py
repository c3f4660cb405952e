"""A real Chromium that can reach nothing except this machine."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

FLAGS = [
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "window-size=1200,1600",
    "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@contextmanager
def chromium(logs: Mapping[str, str] | None = None) -> Iterator[Chrome]:
    """`logs` are the kinds of log that the test reads, with their levels."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", dict(logs or {}))
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    with Chrome(options, ChromeService(shutil.which("chromedriver"))) as driver:
        yield driver
