"""What tests do in the playground's page: look, wait, ask, press keys, call its modules."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import chromium

By = pytest.importorskip("selenium.webdriver.common.by").By
Gone = pytest.importorskip("selenium.common.exceptions").StaleElementReferenceException
Wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait

FOLDER = Path(__file__).parents[4] / "server" / "playground" / "static"
SAMPLE = FOLDER.parents[2] / "clients" / "sample" / "clip.mp4"

MARKS = [
    pytest.mark.service,
    pytest.mark.skipif(
        not chromium.is_here(), reason="needs Debian's chromium and chromium-driver"
    ),
]


def wait(driver):
    return Wait(driver, 60, ignored_exceptions=[Gone])  # what is drawn anew is looked for again


def find(driver, selector):
    return driver.find_element(By.CSS_SELECTOR, selector)


def find_all(driver, selector):
    return driver.find_elements(By.CSS_SELECTOR, selector)


def shown(driver, name):
    return driver.find_element(By.ID, name).is_displayed()


def ask_sample(driver):
    driver.find_element(By.ID, "sample").click()
    wait(driver).until(lambda d: shown(d, "answers"))


def upload(driver, path):
    driver.find_element(By.ID, "file").send_keys(str(path))


def pieces(driver, task):
    return find_all(driver, f".lane[data-task={task}] .piece")


def current_s(driver):
    return driver.execute_script("return document.getElementById('video').currentTime")


def call(driver, module, expression, *values):
    """Returns what an expression over a module `m` and `values` is; the page knows no other way."""
    script = (
        "const values = [...arguments]; const done = values.pop();"
        f"import('/ui/{module}').then(async (m) => done({{is: await ({expression})}}))"
        ".catch((error) => done({error: String(error)}));"
    )
    found = driver.execute_async_script(script, *values)
    assert "error" not in found, found["error"]
    return found["is"]


def faults(driver) -> list[Any]:
    """Serious faults of accessibility, by axe."""
    axe = pytest.importorskip("axe_core_python.selenium").Axe()
    return [
        (one["id"], one["nodes"][0]["html"])
        for one in axe.run(driver)["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@contextmanager
def narrow(driver) -> Iterator[None]:
    """A screen of 360 pixels, as of a phone."""
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def width_needed(driver):
    return driver.execute_script("return document.documentElement.scrollWidth")
