"""Labels on the timeline: marked, named, moved, undone, kept, and the same from any file."""

import json
import random
import shutil

import httpx
import pytest

from model.data.tables.label_file import read_labels
from model.data.tables.readers.cvat import read_cvat
from model.data.tables.readers.label_studio import read_label_studio
from tests.server.whole.playground.browser import (
    MARKS,
    SAMPLE,
    By,
    ask_sample,
    call,
    current_s,
    faults,
    find,
    find_all,
    narrow,
    shown,
    upload,
    wait,
    width_needed,
)

ActionChains = pytest.importorskip("selenium.webdriver").ActionChains
Keys = pytest.importorskip("selenium.webdriver").Keys

pytestmark = MARKS

MARKUP = "<img src=x onerror=alert(1)>, '=1+1\" & 50%"


@pytest.fixture
def labelled(page):
    """The sample, answered, without labels."""
    ask_sample(page)
    wait(page).until(lambda d: find_all(d, ".track.mine"))
    yield page
    page.execute_script("localStorage.clear()")


def drag(page, start, end, at=None):
    """Presses at a share of the lane's width, or on an element, and lets go at another share."""
    lane = find(page, ".track.mine")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", lane)
    width = lane.size["width"]
    moves = ActionChains(page)
    if at is None:
        moves.move_to_element_with_offset(lane, round((start - 0.5) * width), 0)
    else:
        moves.move_to_element(at)
    far = round((end - start) * width)
    moves.click_and_hold().move_by_offset(far // 2, 0).move_by_offset(far - far // 2, 0)
    moves.release().perform()


def kept(page):
    stored = page.execute_script("return localStorage.getItem('egopack.labels.v1')")
    return json.loads(stored)["labels"] if stored else []


def spans(page):
    return [
        (one["label"], pytest.approx(one["start_s"], abs=0.2), pytest.approx(one["end_s"], abs=0.2))
        for one in kept(page)
    ]


def press(page, keys):
    find(page, "body").send_keys(keys)


def go_to(page, seconds):
    page.execute_script("document.getElementById('video').currentTime = arguments[0]", seconds)
    wait(page).until(lambda d: current_s(d) == pytest.approx(seconds))


def add_name(page, name):
    find(page, "#label-name").send_keys(name + "\n")
    page.execute_script("document.activeElement.blur()")


def pieces(page):
    return find_all(page, ".piece.mine[data-id]")


def test_a_stretch_is_marked_named_moved_and_deleted_by_mouse_and_undone(labelled):
    page = labelled
    duration = 13.3
    drag(page, 0.2, 0.4)
    assert find(page, ":focus").get_attribute("id") == "label-name"
    page.switch_to.active_element.send_keys("left\n")
    assert spans(page) == [("left", 0.2 * duration, 0.4 * duration)]
    drag(page, 0.3, 0.5, at=pieces(page)[0])
    assert spans(page) == [("left", 0.4 * duration, 0.6 * duration)]
    assert len(pieces(page)) == 1
    drag(page, 0.6, 0.8, at=find(page, ".piece.mine .grip[data-end=end_s]"))
    assert spans(page) == [("left", 0.4 * duration, 0.8 * duration)]
    drag(page, 0.4, 0.1, at=find(page, ".piece.mine .grip[data-end=start_s]"))
    assert spans(page) == [("left", 0.1 * duration, 0.8 * duration)]
    find(page, "#edit-delete").click()
    assert kept(page) == []
    for _ in range(2):
        find(page, "#undo").click()
    assert spans(page) == [("left", 0.4 * duration, 0.8 * duration)]
    find(page, "#redo").click()
    assert spans(page) == [("left", 0.1 * duration, 0.8 * duration)]
    before = current_s(page)
    lane = find(page, ".track.mine")
    ActionChains(page).move_to_element_with_offset(
        lane, round(0.45 * lane.size["width"]), 0
    ).click().perform()
    wait(page).until(lambda d: current_s(d) == pytest.approx(0.95 * duration, abs=0.1) != before)
    assert len(kept(page)) == 1


def test_all_of_it_is_done_by_keys(labelled):
    page = labelled
    for name in ("left", "right"):
        add_name(page, name)
    go_to(page, 2)
    press(page, "i")
    go_to(page, 5)
    press(page, "o1")
    assert spans(page) == [("left", 2, 5)]
    press(page, "2")
    assert spans(page) == [("right", 2, 5)]
    add_name(page, "other")  # for the next one: this one has its name
    assert spans(page) == [("right", 2, 5)]
    page.execute_script("document.querySelector('.piece.mine[data-id]').focus()")
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert spans(page) == [("right", 2.2, 5.2)]
    page.switch_to.active_element.send_keys(Keys.SHIFT + Keys.ARROW_RIGHT)
    assert kept(page)[0]["end_s"] == 5.3
    page.switch_to.active_element.send_keys(Keys.CONTROL + Keys.ARROW_LEFT)
    assert kept(page)[0]["start_s"] == 2.1
    assert current_s(page) == pytest.approx(2.1)
    page.switch_to.active_element.send_keys(Keys.DELETE)
    assert kept(page) == []
    press(page, Keys.CONTROL + "z")
    assert len(kept(page)) == 1
    press(page, Keys.CONTROL + "z")
    assert kept(page)[0]["start_s"] == 2.2
    press(page, Keys.CONTROL + "y")
    assert kept(page)[0]["start_s"] == 2.1
    press(page, "o")
    assert "Press i" in find(page, "#labelling").text
    find(page, ".piece.mine[data-id]").click()
    edit = find(page, "#edit-start_s")
    edit.clear()
    edit.send_keys("1.5\t")
    assert kept(page)[0]["start_s"] == 1.5
    edit = find(page, "#edit-end_s")
    edit.clear()
    edit.send_keys("1\t")
    assert "start comes before the end" in find(page, "#labelling").text
    assert kept(page)[0]["end_s"] == 5.3


def test_labels_of_several_clips_are_there_after_a_reload_and_bound_to_their_files(
    labelled, tmp_path
):
    page = labelled
    add_name(page, MARKUP)
    drag(page, 0.1, 0.3)
    second = shutil.copy(SAMPLE, tmp_path / "second.mp4")
    upload(page, second)
    wait(page).until(lambda d: shown(d, "answers") and "second" in find(d, "#status").text)
    wait(page).until(lambda d: not pieces(d))
    drag(page, 0.5, 0.7)
    find(page, "#labelling summary").click()
    assert find(page, ".clips").text.splitlines()[:2] == ["sample", "1 label"]
    before = kept(page)
    assert [(one["video"], one["label"]) for one in before] == [
        ("sample", MARKUP),
        ("second", MARKUP),
    ]

    page.refresh()
    wait(page).until(lambda d: shown(d, "sample"))
    ask_sample(page)
    wait(page).until(pieces)
    assert kept(page) == before
    assert pieces(page)[0].get_attribute("title").startswith(MARKUP)
    assert not find_all(page, "#work img")
    find(page, "#labelling summary").click()
    assert "choose its file again" in find(page, ".clips").text

    other = tmp_path / "other" / "second.mp4"
    other.parent.mkdir()
    other.write_bytes(SAMPLE.read_bytes() + b"\0")
    upload(page, other)
    wait(page).until(lambda d: "another file of that name" in find(d, "#labelling").text)
    shown_clip = find_all(page, ".clips li")[0]
    shown_clip.find_element(By.CSS_SELECTOR, "button[aria-label^=Forget]").click()
    assert [one["video"] for one in kept(page)] == ["second"]


def test_what_another_tab_changes_is_seen_here(labelled):
    add_name(labelled, "left")
    drag(labelled, 0.1, 0.3)
    assert len(pieces(labelled)) == 1
    labelled.execute_script(
        "const key = 'egopack.labels.v1'; const state = JSON.parse(localStorage.getItem(key));"
        "state.labels.push({...state.labels[0], start_s: 9, end_s: 10});"
        "localStorage.setItem(key, JSON.stringify(state));"
        "dispatchEvent(new StorageEvent('storage', {key}));"
    )
    assert len(pieces(labelled)) == 2


def test_labelling_is_accessible_and_fits_a_narrow_screen(labelled):
    page = labelled
    add_name(page, "a long name of a label that has many words")
    drag(page, 0.1, 0.3)
    find(page, "#labelling summary").click()
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert faults(page) == []
    told = pieces(page)[0].get_attribute("aria-label")
    assert told.startswith("a long name of a label that has many words, 0:01.")
    assert told.endswith("1 of 1")
    with narrow(page):
        assert width_needed(page) <= 360


WORDS = [
    "left",
    "both, in turn",
    MARKUP,
    '"',
    "'=x",
    "=x",
    "'",
    "-5",
    "-x",
    "ümläut 手",
    "a\u2028b",
]
VIDEOS = ["kitchen-03", "a b", "50%25 #1?", "x.y", "ü&<手>"]


def some_labels(seed):
    """Labels to the millisecond and their clips; either all have a split or none."""
    draws = random.Random(seed)
    clips = [
        {"name": name, "file": f"{name}.mp4", "fps": draws.choice([25, 30, 29.97, 60])}
        for name in draws.sample(VIDEOS, draws.randint(1, len(VIDEOS)))
    ]
    labels = []
    for _ in range(draws.randint(1, 30)):
        start = draws.randrange(0, 3_000_000)
        label = {
            "video": draws.choice(clips)["name"],
            "start_s": start / 1000,
            "end_s": (start + draws.randrange(50, 90_000)) / 1000,
            "label": draws.choice(WORDS),
        }
        labels.append(label)
    if seed % 2:
        labels = [one | {"split": draws.choice(["train", "val", "test"])} for one in labels]
    return labels, clips


def ordered(labels):
    return sorted((sorted(one.items()) for one in labels), key=str)


def written(page, labels, clips):
    """The files of labels: CSV, Label Studio, and CVAT's of each clip."""
    table = call(page, "labels/formats/csv.js", "m.toCsv(values[0])", labels)
    tasks = call(
        page, "labels/formats/label_studio.js", "m.toLabelStudio(...values)", labels, clips
    )
    cvat = [
        call(
            page,
            "labels/formats/cvat.js",
            "m.toCvat(...values)",
            [one for one in labels if one["video"] == clip["name"]],
            clip,
        )
        for clip in clips
    ]
    return table, tasks, cvat


def read_back(page, text, clips):
    return call(page, "labels/files.js", "m.labelsIn(...values)", text, clips)


def test_what_is_written_to_a_file_is_read_from_it(page):
    for seed in range(30):
        labels, clips = some_labels(seed)
        table, tasks, cvat = written(page, labels, clips)
        assert read_back(page, table, clips) == labels
        assert ordered(read_back(page, tasks, clips)) == ordered(labels)
        found = [one for text in cvat for one in read_back(page, text, clips)]
        assert ordered(found) == ordered(labels)


def test_others_read_the_files_alike(page, tmp_path):
    labels = [one for one in some_labels(8)[0] if not one["label"].startswith(("'", "=", "-"))]
    clips = [{"name": name, "file": f"{name}.mp4", "fps": 30} for name in VIDEOS]
    table, tasks, cvat = written(page, labels, clips)
    truth = [(one["video"], one["start_s"], one["end_s"], one["label"]) for one in labels]
    (tmp_path / "labels.csv").write_bytes(table.encode())
    rows = read_labels(tmp_path / "labels.csv", localises=False)
    assert [(one.video, one.start_s, one.end_s, one.label) for one in rows] == truth

    def near(found):
        rounded = [
            (v, pytest.approx(s, abs=1 / 30), pytest.approx(e, abs=1 / 30), text)
            for v, s, e, text in sorted(truth)
        ]
        return sorted(found) == rounded

    (tmp_path / "tasks.json").write_text(tasks)
    assert near(rows_of(read_label_studio(tmp_path / "tasks.json", fps=30)))
    for k, text in enumerate(cvat):
        (tmp_path / f"{k}.xml").write_text(text)
    assert near(rows_of(read_cvat(tmp_path, fps=30)))


def rows_of(table):
    times = table.start_s.tolist(), table.end_s.tolist()
    (labels,) = table.labels.values()
    return list(zip(table.video, *times, labels, strict=True))


def test_files_of_the_tools_themselves_are_read(page):
    task = {
        "id": 4,
        "data": {"video": "/data/upload/1/0123abcd-kitchen%20one.mp4"},
        "annotations": [
            {"was_cancelled": True, "result": [region("gone", 1, 2)]},
            {"updated_at": "2", "result": [region("left", 31, 60)]},
        ],
    }
    found = read_back(page, json.dumps([task]), [])
    assert found == [{"video": "kitchen one", "start_s": 1, "end_s": 2, "label": "left"}]
    images = "".join(
        f'<image id="{k}"><tag label="wet"/></image>' for k in (0, 1, 2, 30, 31) if k != 1
    )
    head = "<meta><task><name>x</name><source>k.mp4</source></task></meta>"
    found = read_back(
        page, f"<annotations>{head}{images}</annotations>", [{"name": "k", "fps": 10}]
    )
    assert [(one["start_s"], one["end_s"]) for one in found] == [(0, 0.1), (0.2, 0.3), (3, 3.2)]


def region(label, first, last):
    value = {"timelinelabels": [label], "ranges": [{"start": first, "end": last}]}
    return {"id": label, "type": "timelinelabels", "from_name": "x", "value": value}


def test_a_wrong_file_is_refused_with_its_place(page):
    head = "video,start_s,end_s,label\n"
    annotations = [{"result": [region("x", 9, 2)]}]
    backwards = {"id": 7, "data": {"video": "a.mp4"}, "annotations": annotations}
    cases = {
        "video,start,end\n": "line 1: expected the columns video, start_s, end_s, label",
        f"{head}a,2,1,x\n": "line 2, column end_s: expected more than start_s",
        f'{head}a,1,2,"x\ny"\nb,no,2,x': "line 4, column start_s: expected seconds",
        f"{head}a,1,2\n": "line 2: expected 4 values, got 3",
        f'{head}a,1,2,"x\n': "line 2: a quote is not closed",
        "[{}]": "task 0: expected 'data' and 'annotations'",
        json.dumps([backwards]): "task 7, region x: expected a start and an end from 1 on",
        "<annotations><meta/></annotations>": "meta: expected the source of one video",
        "<annotations": "not XML",
    }
    refusal = (
        "((text) => { try { m.labelsIn(text, []); return ''; } "
        "catch (error) { return error.message; } })(values[0])"
    )
    for text, said in cases.items():
        assert said in call(page, "labels/files.js", refusal, text)
    page.get_log("browser")  # Chromium's page about broken XML has styles, which are blocked


def test_a_file_of_labels_is_taken_in_once_and_undone(labelled, tmp_path):
    page = labelled
    path = tmp_path / "labels.csv"
    path.write_text("video,start_s,end_s,label\nsample,1,2,left\nelsewhere,3,4,right\n")
    page.find_element(By.ID, "labels-file").send_keys(str(path))
    wait(page).until(lambda d: len(pieces(d)) == 1)
    assert len(kept(page)) == 2
    assert "labels.csv: 2 labels." in find(page, "#labelling").text
    page.find_element(By.ID, "labels-file").send_keys(str(path))
    wait(page).until(lambda d: "2 that were there before" in find(d, "#labelling").text)
    assert len(kept(page)) == 2
    (tmp_path / "wrong.csv").write_text("video,start_s,end_s,label\nsample,2,1,left\n")
    page.find_element(By.ID, "labels-file").send_keys(str(tmp_path / "wrong.csv"))
    wait(page).until(lambda d: "wrong.csv: line 2, column end_s" in find(d, "#labelling").text)
    assert len(kept(page)) == 2
    press(page, Keys.CONTROL + "z")
    press(page, Keys.CONTROL + "z")
    assert kept(page) == []


def test_a_browser_that_keeps_nothing_is_said(page):
    full = "{getItem: () => null, setItem: () => { throw new Error('full'); }}"
    made = "((p) => (p.add({video: 'a', start_s: 1, end_s: 2, label: 'x'}), [p.fault, p.state]))"
    fault, state = call(page, "labels/project.js", f"{made}(new m.Project(() => {{}}, {full}))")
    assert fault == "Not saved in this browser: full Export your labels."
    assert [one["label"] for one in state["labels"]] == ["x"]
    broken = "{getItem: () => '{\"labels\"'}"
    fault = call(page, "labels/project.js", f"new m.Project(() => {{}}, {broken}).fault")
    assert "What was kept in this browser cannot be read" in fault


def test_a_clip_whose_video_the_server_keeps_is_opened_from_there(page, server):
    assert not shown(page, "kept")
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http:
        kept = http.post(
            "/v1/clips?name=kitchen.07&keep_video=true",
            content=SAMPLE.read_bytes(),
            headers={"content-type": "video/mp4"},
        ).json()
        try:
            page.refresh()
            wait(page).until(lambda d: shown(d, "kept"))
            find(page, "#kept-clip").send_keys("kitchen")
            wait(page).until(lambda d: find(d, "#status").text.startswith("kitchen.07.mp4: "))
            wait(page).until(lambda d: find_all(d, ".track.mine"))
            assert shown(page, "video")
            assert (
                call(page, "labels/project.js", "m.stemOf(values[0])", "kitchen.07.mp4")
                == (kept["name"])
            )
            assert find(page, "#teach-videos").is_displayed()
        finally:
            http.delete(f"/v1/clips/{kept['id']}").raise_for_status()
