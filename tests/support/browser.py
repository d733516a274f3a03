"""A headless browser for tests of pages: Debian's chromium, driven over its own debugging protocol."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",  # so that a window of 360 pixels has 360 for the page
    "--host-resolver-rules=MAP * ~NOTFOUND",  # whoever asks for another host gets none
)


def missing() -> str | None:
    """Return what is missing to run a browser, None if nothing is."""
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"{program} is missing (Debian: apt-get install chromium chromium-driver)"
    return None


@contextmanager
def browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """Start a browser whose profile is in a folder of its own, and end it."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def show(
    driver: webdriver.Chrome,
    page: Path,
    *,
    width: int = 1280,
    scheme: str = "light",
    media: str = "screen",
) -> list[dict[str, Any]]:
    """Open a page in a window of a width, in a colour scheme, on a medium; return what the console said."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    driver.get(page.as_uri())
    return driver.get_log("browser")
