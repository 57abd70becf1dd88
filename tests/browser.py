"""A real browser, for tests of what is looked at in one: Debian's Chromium, without a window."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PACKAGES = "chromium chromium-driver"


def require_browser(config: pytest.Config) -> None:
    """Skip what needs a browser where there is none; fail it with --strict-lab."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        give_up(config, f"no {' and '.join(missing)} here: apt-get install {PACKAGES}")
    if find_spec("selenium") is None:
        give_up(config, "no selenium here: pip install -e '.[dev]'")


def give_up(config: pytest.Config, reason: str) -> None:
    if config.getoption("--strict-lab"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextmanager
def browser(profile: Path) -> Iterator["Chrome"]:
    """A browser that knows nothing and asks nobody; it ends with the block.

    profile: a directory for what it keeps. Its console and its requests are to be had by
    `get_log("browser")` and `get_log("performance")`.
    """
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for word in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = Service(str(shutil.which("chromedriver")), log_output=subprocess.DEVNULL)
    driver = Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
