"""A server with the shipped bundle, a browser, and its page just opened."""

import pytest

from clients.local import LocalServer, check_stopped
from tests.server.whole.playground.browser import shown, wait
from tests.support import chromium as opened_by


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    state = str(tmp_path_factory.mktemp("state"))
    with LocalServer("--state-dir", state, "--teaching-keep-videos") as running:
        yield running
    check_stopped(running)


@pytest.fixture(scope="package")
def chromium(tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    with opened_by.opened(profile, *opened_by.CAMERA_FLAGS) as driver:
        yield driver


@pytest.fixture
def page(server, chromium):
    """The page, just opened; afterwards nothing may have gone wrong in it."""
    chromium.get_log("performance")
    chromium.get_log("browser")
    chromium.get(server.url)
    wait(chromium).until(lambda driver: shown(driver, "sample"))
    yield chromium
    # The browser's own lines of a 4xx, and of a file that is no video.
    expected = ("the server responded with a status of", "blob:")
    wrong = [line["message"] for line in chromium.get_log("browser")]
    assert [line for line in wrong if not any(known in line for known in expected)] == []
