"""A skill taught in the browser: stretches marked in two clips, and answered in a third."""

import sys
import time

import pytest

from tabletop.files.world import encode_video, make_renderer
from tabletop.story.script import WorldConfig, write_script
from tests.server.whole.playground.browser import (
    MARKS,
    call,
    faults,
    find,
    find_all,
    narrow,
    pieces,
    shown,
    wait,
    width_needed,
)

pytestmark = [*MARKS, pytest.mark.slow(60)]

MARGIN = 20
CLIPS = {"one": (0, 535, 824), "two": (1, 2233, 2522), "three": (1, 516, 837)}
"""Name -> test video of the default world, first and last frame of two actions in a row."""
MARKUP = "<b>changes</b>"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Name -> file and its actions: (label, start, end), whether an object changes state."""
    folder, config = tmp_path_factory.mktemp("clips"), WorldConfig()
    found = {}
    for name, (index, first, last) in CLIPS.items():
        script = write_script(config, "test", index)
        frame = make_renderer(script, config).frame
        first, last = first - MARGIN, last + MARGIN
        path = folder / f"{name}.mp4"
        encode_video(path, (frame(k) for k in range(first, last)), config)
        inside = [one for one in script.actions if first <= one.start and one.end <= last]
        found[name] = (
            path,
            [
                (
                    MARKUP if one.changes_state else "stays",
                    (one.start - first) / config.fps,
                    (one.end - first) / config.fps,
                )
                for one in inside
            ],
        )
        assert {label for label, _, _ in found[name][1]} == {MARKUP, "stays"}
    return found


def choose(page, path):
    find(page, "#file").send_keys(str(path))
    wait(page).until(lambda d: find(d, "#status").text.startswith(f"{path.name}: "))
    wait(page).until(lambda d: shown(d, "answers") and find_all(d, ".track.mine"))


def mark(page, label, start, end):
    names = [one.text for one in find_all(page, ".name > span")]
    if label not in names:
        find(page, "#label-name").send_keys(label + "\n")
        names.append(label)
        page.execute_script("document.activeElement.blur()")
    before = len(find_all(page, ".piece.mine[data-id]"))
    for key, at in (("i", start), ("o", end)):
        page.execute_script("document.getElementById('video').currentTime = arguments[0]", at)
        find(page, "body").send_keys(key)
    find(page, "body").send_keys(str(names.index(label) + 1))
    assert len(find_all(page, ".piece.mine[data-id]")) == before + 1


def answers(page, name):
    return [one.get_attribute("aria-label") for one in pieces(page, name)]


def ask_in(page, seconds):
    page.execute_script("document.getElementById('segment-s').value = arguments[0]", seconds)


def answer_at(page, name, seconds):
    """What the lane of a skill says at an instant."""
    for told in answers(page, name):
        span, _, said = told.partition(": ")
        start, end = (
            60 * int(minutes) + float(rest)
            for minutes, rest in (one.split(":") for one in span.split(",")[0].split(" to "))
        )
        if start <= seconds < end:
            return said
    raise AssertionError(f"nothing at {seconds} s")


def status(page):
    return find(page, "#teaching [role=status]").text


def wait_for(page, text):
    def is_there(driver):
        fault = find(driver, "#teaching .problem")
        assert not fault.is_displayed(), fault.text
        return text in status(driver)

    wait(page).until(is_there)


def test_stretches_of_two_clips_teach_a_skill_that_answers_a_third(page, clips):
    for name in ("one", "two"):
        path, actions = clips[name]
        choose(page, path)
        for action in actions:
            mark(page, *action)
    labels = page.execute_script("return JSON.parse(localStorage['egopack.labels.v1']).labels")
    assert [(one["video"], one["label"]) for one in labels] == [
        (name, label) for name in ("one", "two") for label, _, _ in clips[name][1]
    ]
    find(page, "#teach-name").send_keys("fate")

    pressed = time.monotonic()
    find(page, "#teach").click()
    wait_for(page, "fate is learnt, and served as version 1.")
    learnt_s = time.monotonic() - pressed
    told = find(page, ".report").text
    assert f"Labels: 2 × stays, 2 × {MARKUP}." in find(page, "#teaching").text
    assert "of 4 right" in told or "4 labels" in told  # held out in turn, or said to be too few
    path, actions = clips["three"]
    ask_in(page, 3.6)
    choose(page, path)
    wait(page).until(lambda d: pieces(d, "fate"))
    answered_s = time.monotonic() - pressed
    sys.stdout.write(
        f"learnt {learnt_s:.1f} s after the press, answered {answered_s:.1f} s after\n"
    )
    for label, start, end in actions:
        assert answer_at(page, "fate", (start + end) / 2).startswith(f"{label}, ")
    assert not find_all(page, "main b")
    assert faults(page) == []
    with narrow(page):
        assert width_needed(page) <= 360


@pytest.fixture
def ready(page, clips):
    """Four labels of two clips whose files are chosen, and a skill's name."""
    put_labels(page, clips, "one", "two")
    files = "\n".join(str(clips[name][0]) for name in ("one", "two"))
    find(page, "#file").send_keys(files)
    wait(page).until(lambda d: find_all(d, ".piece.mine[data-id]"))
    yield page
    page.execute_script("localStorage.clear()")


def put_labels(page, clips, *names, more=()):
    labels = [
        {"video": name, "label": label, "start_s": start, "end_s": end}
        for name in names
        for label, start, end in clips[name][1]
    ]
    state = {
        "clips": [{"name": name} for name in names],
        "labels": [*labels, *more],
        "names": ["stays", MARKUP],
        "task": {"name": "fate-2", "kind": "graph", "none": "stays"},
    }
    script = "localStorage.setItem('egopack.labels.v1', JSON.stringify(arguments[0]))"
    page.execute_script(script, state)
    page.refresh()
    wait(page).until(lambda d: shown(d, "sample") and shown(d, "teaching"))


def do(page, what, then):
    """Presses a button of the list of skills, and waits for what the list then says."""
    find(page, f"button[aria-label='{what}']").click()
    wait(page).until(lambda d: then in find(d, "[data-skill=fate-2]").text)


def test_versions_are_served_rolled_back_and_deleted_and_the_next_stretch_is_named(ready):
    page = ready
    for version in (1, 2):
        find(page, "#teach").click()
        wait_for(page, f"fate-2 is learnt, and served as version {version}.")
    assert "None of these (stays)" in find(page, ".report").text
    assert find(page, "#teach-kind").get_attribute("value") == "graph"
    assert faults(page) == []
    with narrow(page):
        assert width_needed(page) <= 360

    find(page, "#ask").click()
    wait(page).until(lambda d: pieces(d, "fate-2"))
    assert find(page, "#segment-s").get_attribute("value") == "4.3"
    do(page, "Roll fate-2 back", "Version 1 is served.")
    do(page, "Serve fate-2 2", "Version 2 is served.")
    find(page, "#threshold").send_keys("\ue010")  # End
    find(page, "#serve-threshold").click()
    wait(page).until(lambda d: "from 100 % on" in find(d, "[data-skill=fate-2]").text)
    find(page, "#ask").click()
    wait(page).until(lambda d: any("not certain" in one for one in answers(d, "fate-2")))
    do(page, "Stop serving fate-2", "Not served.")
    find(page, "button[aria-label='Delete fate-2 1']").click()
    wait(page).until(lambda d: "1: 4 labels" not in find(d, "[data-skill=fate-2]").text)
    find(page, "button[aria-label='Report of fate-2 2']").click()
    wait(page).until(lambda d: "fate-2, version 2" in find(d, ".report").text)
    find(page, "button[aria-label='Delete fate-2']").click()
    wait(page).until(lambda d: not find_all(d, "[data-skill=fate-2]"))


def test_a_suggestion_leads_to_a_stretch_that_waits_for_its_name(ready, clips):
    page = ready
    find(page, "#file").send_keys(f"{clips['one'][0]}\n{clips['three'][0]}")
    wait(page).until(lambda d: "Clips (3)" in find(d, "#labelling").text)
    find(page, "#suggest").click()
    wait_for(page, "Looked at 3 clips.")
    found = [one.text for one in find_all(page, "#teaching ol button")]
    assert 1 <= len(found) <= 5
    assert len(set(found)) == len(found)
    place = next(k for k, text in enumerate(found) if text.startswith("three, "))
    span = found[place].removeprefix("three, ")
    find_all(page, "#teaching ol button")[place].click()
    wait(page).until(lambda d: f"What is it from {span}?" in find(d, "#labelling").text)
    assert find(page, "#status").text.startswith("three.mp4: ")
    find(page, "body").send_keys("1")
    labels = page.execute_script("return JSON.parse(localStorage['egopack.labels.v1']).labels")
    assert (labels[-1]["video"], labels[-1]["label"]) == ("three", "stays")
    start_s = page.execute_script("return document.getElementById('video').currentTime")
    assert start_s == pytest.approx(labels[-1]["start_s"], abs=0.01)


def fault_of_teaching(page, path=None):
    if path is not None:
        find(page, "#file").send_keys(str(path))
        wait(page).until(lambda d: find_all(d, ".piece.mine[data-id]"))
    find(page, "#teach").click()
    wait(page).until(lambda d: find(d, "#teaching .problem").is_displayed())
    return find(page, "#teaching .problem").text


def test_what_cannot_be_taught_is_said_where_it_is(page, clips, tmp_path):
    path = clips["one"][0]
    early = {"start_s": 1, "end_s": 2, "label": "stays"}
    put_labels(page, clips, more=[{"video": "a", **early}])
    assert "at least two different labels" in fault_of_teaching(page)
    put_labels(page, clips, "one", more=[{"video": "never-seen", **early}])
    assert "has not seen these: never-seen." in fault_of_teaching(page, path)
    late = {"video": "one", "start_s": 600, "end_s": 601, "label": "stays"}
    put_labels(page, clips, "one", more=[late])
    assert "one, 600 to 601 s, stays: " in fault_of_teaching(page, path)

    put_labels(page, clips, "one")
    other = tmp_path / "one.mp4"
    other.write_bytes(clips["three"][0].read_bytes())
    assert "clip-exists" in fault_of_teaching(page, other)
    find(page, "#teaching .problem button").click()
    wait(page).until(lambda d: "Learning" in status(d))
    find(page, "#teach-stop").click()
    wait_for(page, "Stopped.")
    assert not find_all(page, "[data-skill=fate-2]")
    page.execute_script("localStorage.clear()")


def answer(page, path, status, body):
    """Has the page get an answer that the server did not give."""
    page.execute_script(
        "const [path, status, body] = arguments; const real = window.fetch;"
        "window.fetch = (url, options) => url !== path ? real(url, options)"
        " : Promise.resolve(new Response(JSON.stringify(body), {status}));",
        path,
        status,
        body,
    )


def test_where_nobody_may_teach_nothing_of_it_is_shown(page):
    wait(page).until(lambda d: shown(d, "teaching"))
    starting = {"code": "starting", "title": "starting", "status": 503, "retryable": True}
    off = {"code": "teaching-off", "title": "off", "status": 404}
    root = "document.getElementById('teaching')"
    labeller = "{project: {state: {labels: [], names: [], task: {}}}}"
    start = f"(new m.Teach({root}, {labeller}, {{}})).start().then(() => 0)"
    answer(page, "v1/skills", 404, off)
    call(page, "teach/teach.js", start)
    assert not shown(page, "teaching")
    answer(page, "v1/skills", 503, starting)
    call(page, "teach/teach.js", start)
    assert not shown(page, "teaching")
    answer(page, "v1/skills", 200, {"skills": []})  # before it is asked again
    wait(page).until(lambda d: shown(d, "teaching"))
