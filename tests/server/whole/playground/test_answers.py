"""Answers as the page draws and saves them: votes, merged lanes, futures side by side, tables."""

import csv
import io
import random

from tests.server.whole.playground.browser import (
    MARKS,
    ask_sample,
    call,
    find,
    find_all,
    narrow,
    pieces,
    wait,
    width_needed,
)

pytestmark = MARKS


def test_every_vote_is_seen_at_any_width(page):
    ask_sample(page)

    def is_whole():
        return page.execute_script(
            "const votes = document.querySelector('#answers .votes');"
            "return votes.scrollWidth <= votes.parentElement.clientWidth;"
        )

    assert page.execute_script("return innerWidth") < 1310
    assert is_whole()
    with narrow(page):
        assert is_whole()
        assert width_needed(page) <= 360
    lines = [row.text for row in find_all(page, "#answers .votes tbody tr")]
    assert lines[0].startswith("ar verb wipe own view")
    for output in ("ar verb", "ar noun", "oscc state", "pnr keyframe"):
        assert sum(output in line for line in lines) == 1


def segment(start, end, action, change, instant):
    verb, noun = action.split()
    return {
        "start_s": start,
        "end_s": end,
        "ar": {"verb": [label(verb, 0.9)], "noun": [label(noun, 0.8)]},
        "oscc": {"state_change": change > 0.5, "probability": change},
        "pnr": {"time_s": instant, "probability": 0.5, "scores": [1, 2, 1]},
    }


def draw(page, segments):
    answer = {"input": {"start_s": 0, "duration_s": segments[-1]["end_s"]}, "segments": segments}
    call(
        page,
        "answers/timeline.js",
        "(document.getElementById('work').hidden = false, window.chosen = [], window.drawn = "
        "new m.Timeline(document.getElementById('timeline'), {onseek: () => {}, "
        "onselect: (k) => window.chosen.push(k)}), window.drawn.show(values[0], null), 0)",
        answer,
    )


def test_neighbours_that_answer_alike_are_one_block(page):
    actions = ["take cup"] * 3 + ["wipe plate"] + ["take cup"] * 2
    changes = [0.1, 0.2, 0.9, 0.8, 0.7, 0.3]
    draw(page, [segment(8 * k, 8 * k + 8, a, changes[k], 8 * k + 4) for k, a in enumerate(actions)])
    assert [len(pieces(page, task)) for task in ("ar", "oscc", "pnr")] == [3, 3, 6]
    first, _, last = pieces(page, "ar")
    assert first.text == "take cup"
    told = "0:00.00 to 0:24.00, 3 segments: take cup, 90 % and 80 %"
    assert first.get_attribute("aria-label") == told
    assert "take cup" in first.get_attribute("title")
    assert last.get_attribute("aria-label").startswith("0:32.00 to 0:48.00, 2 segments")
    assert "changes 70 to 90 %" in pieces(page, "oscc")[1].text

    first.click()  # in its middle, which is the second segment
    assert page.execute_script("return window.chosen") == [1]
    page.execute_script("window.drawn.select(1)")
    outline = find(page, ".piece.ar .chosen").get_attribute("style")
    assert "left: 33.3" in outline
    assert "width: 33.3" in outline


def test_segments_that_do_not_touch_or_lie_over_each_other_stay_apart(page):
    draw(
        page,
        [
            segment(0, 8, "take cup", 0.9, 4),
            segment(10, 18, "take cup", 0.9, 14),
            segment(14, 22, "take cup", 0.9, 18),
        ],
    )
    assert len(pieces(page, "ar")) == 3


def test_a_label_is_shown_where_it_fits_and_told_everywhere(page):
    actions = [f"verb{k} noun{k}" for k in range(60)]
    draw(page, [segment(8 * k, 8 * k + 8, a, 0.9, 8 * k + 1) for k, a in enumerate(actions)])
    assert [one.text for one in pieces(page, "ar")] == [""] * 60
    for action, one in zip(actions, pieces(page, "ar"), strict=True):
        assert action in one.get_attribute("aria-label")
        assert action in one.get_attribute("title")
    assert pieces(page, "oscc")[0].text == "changes 90 %"


def aligned(page, sequences):
    return call(page, "answers/align.js", "m.align(values[0])", sequences)


def test_futures_are_aligned_whatever_they_are(page):
    draws = random.Random(5)
    for _ in range(40):
        count, length = draws.randint(1, 6), draws.randint(1, 12)
        words = [f"w{k}" for k in range(draws.randint(1, 9))]
        sequences = [draws.choices(words, k=length) for _ in range(count)]
        columns = aligned(page, sequences)
        for k, sequence in enumerate(sequences):  # read over the columns, each is what it was
            assert [column[k] for column in columns if column[k] is not None] == sequence
        assert all(any(item is not None for item in column) for column in columns)
    assert len(aligned(page, [list("abcd")] * 5)) == 4


def test_what_comes_a_step_earlier_stands_in_the_same_column(page):
    columns = aligned(page, [list("abcde"), list("xabcd"), list("abcqd")])
    whole = [column[0] for column in columns if len(set(column)) == 1]
    assert whole == list("abcd")
    assert call(page, "answers/align.js", "m.agreed(values[0])", ["a", None, "b", "b"]) == ["b", 2]


def test_how_many_futures_agree_is_said(page):
    ask_sample(page)
    wait(page).until(lambda d: find_all(d, ".future"))
    assert len(find_all(page, ".future.true")) == 20
    assert len(find_all(page, ".future:not(.true)")) == 5 * 20
    heads = [one.text for one in find_all(page, ".agree")]
    assert "5 of 5" in heads
    note = find(page, "#future .note").text
    assert note.startswith("5 sampled futures of 20 actions")
    assert "All have wipe bowl, move plate, put sponge." in note
    assert len(find_all(page, "#future .sr ol")) == 5


def test_answers_are_saved_as_tables_and_subtitles(page):
    ask_sample(page)
    answer = {
        "segments": [
            {
                "start_s": 0.0,
                "end_s": 3600.5,
                "ar": {"verb": [label('cut, "so"', 0.5)], "noun": [label("a<b", 1.0)]},
                "oscc": {"state_change": True, "probability": 0.75},
                "pnr": {"time_s": 1.25, "probability": 0.5},
            }
        ],
        "lta": {
            "hypotheses": [[{"verb": "put", "noun": "cup"}, {"verb": "=1+1", "noun": "\n\nx"}]]
        },
    }
    table, subtitles = call(
        page, "answers/exports.js", "[m.toCsv(values[0]), m.toVtt(values[0])]", answer
    )
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["task"] for row in rows] == ["ar", "ar", "oscc", "pnr", "lta", "lta"]
    assert {row["label"] for row in rows[:2]} == {'cut, "so"', "a<b"}
    assert rows[4]["label"] == "put cup"
    assert rows[5]["label"].startswith("'=1+1")
    assert subtitles == (
        'WEBVTT\n\n00:00:00.000 --> 01:00:00.500\ncut, "so" a&lt;b\nstate change at 1.25 s\n'
    )


def label(text, probability):
    return {"id": 0, "label": text, "probability": probability}


def test_what_is_not_answered_leaves_no_trace(page):
    futures = {"hypotheses": [[{"verb": "put", "noun": "cup"}]], "steps": []}
    call(
        page,
        "answers/future.js",
        "(document.getElementById('work').hidden = false,"
        " m.showFuture(document.getElementById('future'), values[0], null), 0)",
        futures,
    )
    assert find(page, "#future").text.startswith("What comes next\nOne future of 1 actions.\nagree")
    assert "null" not in find(page, "#future").text


def test_a_taught_skill_has_its_lane_and_its_rows(page):
    segments = [segment(4 * k, 4 * k + 4, "take cup", 0.9, 4 * k + 1) for k in range(3)]
    for one, text, sure in zip(
        segments, ("<b>left</b>", "<b>left</b>", "right"), "101", strict=True
    ):
        answer = {"labels": [label(text, 0.75)], "is_certain": sure == "1"}
        one["skills"] = {"hand": answer}
    draw(page, segments)
    assert [one.text for one in pieces(page, "hand")] == ["<b>left</b>?", "right"]
    told = pieces(page, "hand")[0].get_attribute("aria-label")
    assert told == "0:00.00 to 0:08.00, 2 segments: <b>left</b>, 75 %, not certain"
    table = call(page, "answers/exports.js", "m.toCsv(values[0])", {"segments": segments})
    rows = [row for row in csv.DictReader(io.StringIO(table)) if row["task"] == "hand"]
    assert [row["label"] for row in rows] == ["<b>left</b>", "<b>left</b>", "right"]
