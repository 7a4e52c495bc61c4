"""The page in a real browser, against a real server with the shipped bundle."""

import json
import re

import pytest

from tests.extract.support.clips import write_numbered
from tests.server.whole.playground.browser import (
    FOLDER,
    MARKS,
    SAMPLE,
    By,
    ask_sample,
    current_s,
    faults,
    narrow,
    pieces,
    shown,
    upload,
    wait,
    width_needed,
)

pytestmark = MARKS


def test_a_clip_is_answered_drawn_and_sought_in(page):
    ask_sample(page)
    assert [len(pieces(page, task)) for task in ("ar", "oscc", "pnr")] == [2, 2, 2]
    assert pieces(page, "ar")[0].text
    assert len(page.find_elements(By.CSS_SELECTOR, ".future.true")) == 20
    assert page.find_elements(By.CSS_SELECTOR, "#answers table tbody tr")

    first = pieces(page, "oscc")[0]
    first.click()
    wait(page).until(lambda d: 3 < current_s(d) < 5)  # the middle of a segment of 8 s
    assert first.get_attribute("aria-pressed") == "true"
    assert "Segment 1 of 2" in page.find_element(By.ID, "answers").text


def test_keys_go_from_segment_to_segment_and_frame_to_frame(page):
    ask_sample(page)
    body = page.find_element(By.TAG_NAME, "body")
    body.send_keys("]")
    wait(page).until(lambda d: current_s(d) == pytest.approx(5.3, abs=0.01))
    body.send_keys(".")
    wait(page).until(lambda d: current_s(d) == pytest.approx(5.3 + 1 / 30, abs=0.01))
    body.send_keys("[")
    wait(page).until(lambda d: current_s(d) == 0)


def test_what_cannot_be_answered_is_said_and_the_next_clip_is_answered(page, tmp_path):
    (tmp_path / "notes.mp4").write_bytes(b"these are notes, not a video")
    upload(page, tmp_path / "notes.mp4")
    wait(page).until(lambda d: shown(d, "problem"))
    problem = page.find_element(By.ID, "problem").text
    assert "unsupported-media" in problem
    assert "null" not in problem
    assert not shown(page, "work")

    upload(page, write_numbered(tmp_path / "good.mp4", 64, options={"g": "8"}))
    wait(page).until(lambda d: shown(d, "answers"))
    assert not shown(page, "problem")
    assert "good.mp4" in page.find_element(By.ID, "status").text


def test_a_long_video_becomes_a_job_whose_progress_is_shown(page, tmp_path):
    clip = write_numbered(tmp_path / "walk.mp4", 70 * 30, options={"g": "30"})
    page.execute_script(
        "window.shares = [];"
        "new MutationObserver(() => shares.push(document.getElementById('progress').value))"
        ".observe(document.getElementById('progress'), {attributes: true});"
    )
    upload(page, clip)
    wait(page).until(lambda d: shown(d, "answers"))
    assert "1:10.00 answered" in page.find_element(By.ID, "status").text
    assert len(pieces(page, "pnr")) == 9
    assert not shown(page, "progress")
    assert page.execute_script("return shares.length") > 0


def test_nothing_is_asked_of_anybody_else(page, server):
    ask_sample(page)
    asked = set()
    for line in page.get_log("performance"):
        message = json.loads(line["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(message["params"]["request"]["url"])
    assert any(url.endswith("/v1/predictions") for url in asked)
    assert {u for u in asked if not u.startswith((server.url, "blob:", "data:"))} == set()


def test_the_page_is_light():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 300_000


def test_its_modules_are_short_and_import_one_way():
    order = ["dom.js", "api.js", "answers", "labels", "live", "teach", "main.js"]
    for path in FOLDER.rglob("*.js"):
        text = path.read_text()
        assert len(text.splitlines()) < 300, path
        place = order.index(path.relative_to(FOLDER).parts[0])
        for name in re.findall(r'from "([^"]+)"', text):
            other = (path.parent / name).resolve().relative_to(FOLDER).parts[0]
            assert order.index(other) <= place, f"{path} imports {name}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_of_accessibility(page, tmp_path, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    assert faults(page) == []
    ask_sample(page)
    assert faults(page) == []
    (tmp_path / "empty.mp4").write_bytes(b"")
    upload(page, tmp_path / "empty.mp4")
    wait(page).until(lambda d: shown(d, "problem"))
    assert faults(page) == []


def present(driver):
    return driver.find_element(By.CSS_SELECTOR, "#present .big").text


def test_a_camera_is_answered_while_it_looks_and_asked_for_after_a_click_alone(page):
    asked = "return window.asked"
    page.execute_script(
        "window.asked = 0; const real = navigator.mediaDevices.getUserMedia.bind("
        "navigator.mediaDevices); navigator.mediaDevices.getUserMedia = (wanted) => "
        "{ window.asked += 1; return real(wanted); };"
    )
    assert not shown(page, "live")
    assert page.execute_script(asked) == 0
    page.find_element(By.ID, "camera").click()
    wait(page).until(lambda d: shown(d, "live") and present(d) not in ("", "Looking…"))
    assert page.execute_script(asked) == 1
    assert faults(page) == []
    with narrow(page):
        assert width_needed(page) <= 360
    page.find_element(By.ID, "stop").click()
    wait(page).until(lambda d: shown(d, "answers") and not shown(d, "live"))
    assert page.find_element(By.ID, "status").text.startswith("camera: ")
    assert pieces(page, "ar")
    assert page.execute_script("return document.getElementById('video').srcObject") is None


def test_a_file_is_played_as_if_live_and_has_its_timeline_afterwards(page):
    page.find_element(By.ID, "file-live").send_keys(str(SAMPLE))
    wait(page).until(lambda d: shown(d, "live") and present(d) not in ("", "Looking…"))
    wait(page).until(lambda d: d.find_elements(By.CSS_SELECTOR, "#events p"))
    page.execute_script("document.getElementById('video').playbackRate = 2")
    wait(page).until(lambda d: shown(d, "answers") and not shown(d, "live"))
    assert [len(pieces(page, task)) for task in ("ar", "oscc", "pnr")] == [2, 2, 2]
    assert shown(page, "video")
    pieces(page, "oscc")[0].click()
    wait(page).until(lambda d: 3 < current_s(d) < 5)


RECORDED = """
const [type, seconds, done] = arguments;
const stream = await navigator.mediaDevices.getUserMedia({video: {width: 320, height: 240}});
const recorder = new MediaRecorder(stream, {mimeType: type});
const socket = new WebSocket(`${location.origin.replace("http", "ws")}/v1/live`,
  "egopack.live.v1");
const got = [];
let sending = Promise.resolve();
socket.onmessage = (event) => got.push(JSON.parse(event.data));
socket.onclose = (event) => done([event.code, got]);
socket.onopen = () => {
  socket.send(JSON.stringify({input: "container", segment_s: 2}));
  recorder.ondataavailable = ({data}) => {
    sending = sending.then(async () => socket.send(await data.arrayBuffer()));
  };
  recorder.onstop = () => { sending.then(() => socket.send('{"type": "end"}')); };
  recorder.start(200);
  setTimeout(() => {
    recorder.stop();
    stream.getTracks().forEach((track) => track.stop());
  }, 1000 * seconds);
};
"""


@pytest.mark.parametrize("codec", ["vp8", "vp9"])
def test_what_a_browser_records_is_answered_while_it_records(page, codec):
    page.set_script_timeout(60)
    script = f"const run = async (...arguments) => {{{RECORDED}}}; run(...arguments);"
    code, got = page.execute_async_script(script, f"video/webm;codecs={codec}", 4)
    assert code == 1000, got[-1]
    answers = [m for m in got if m["type"] == "answer"]
    assert len(answers) >= 3
    assert answers[0]["to_s"] < 2.5
    (summary,) = [m for m in got if m["type"] == "summary"]
    assert summary["result"]["segments"][-1]["end_s"] == pytest.approx(4, abs=1.0)


def test_a_narrow_screen_needs_no_scrolling_sideways(page):
    with narrow(page):
        ask_sample(page)
        assert width_needed(page) <= 360
