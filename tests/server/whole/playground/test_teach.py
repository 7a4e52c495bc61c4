"""The panel that teaches, part by part: the report, the skills, what to label next."""

import pytest

from server.schemas import examples
from tests.server.whole.playground.browser import (
    MARKS,
    call,
    faults,
    find,
    find_all,
    narrow,
    width_needed,
)

pytestmark = MARKS

MARKUP = "<img src=x onerror=alert(1)>"
REPORT = examples.REPORT | {
    "version": 3,
    "labels": [MARKUP, "right"],
    "confusion": {"labels": [MARKUP, "right"], "counts": [[9, 1], [1, 9]]},
    "voters": [
        {"name": "own", "weight": 0.7, "about": "the plain head"},
        {"name": "gaussian", "weight": 0.1, "about": MARKUP},
    ],
    "curve": [
        {"labels": 5, "accuracy": 0.7, "low": 0.4, "high": 0.9},
        {"labels": 20, "accuracy": 0.9, "low": 0.7, "high": 0.97},
    ],
    "forecast": {"labels": 30, "accuracy": 0.93, "low": 0.8, "high": 0.98},
    "thresholds": [
        {"threshold": 0.0, "answered": 1.0, "precision": 0.9, "recall": 0.9},
        {"threshold": 0.5, "answered": 0.8, "precision": 1.0, "recall": 0.8},
        {"threshold": 1.0, "answered": 0.0, "precision": None, "recall": 0.0},
    ],
    "threshold": 0.5,
    "none": {"label": "right", "right": 9, "held_out": 10, "mistaken": 1, "others": 10},
    "notes": [MARKUP],
}


@pytest.fixture
def panel(page):
    page.execute_script(
        "const root = document.getElementById('teaching'); root.hidden = false;"
        "root.replaceChildren(Object.assign(document.createElement('h2'),"
        "{id: 'teach-title', textContent: 'Teach a skill'}), document.createElement('div'));"
        "root.lastChild.className = 'stack report'; window.told = [];"
    )
    return page


def draw(page, module, expression, *values):
    root = "document.querySelector('#teaching > div')"
    call(page, module, f"(({expression})({root}, values), 0)", *values)
    return find(page, "#teaching")


def report(page, **changes):
    shown = "(root, [report]) => m.showReport(root, report, {onserve: (t) => window.told.push(t)})"
    return draw(page, "teach/report.js", shown, REPORT | changes)


def test_a_report_is_told_in_words_and_its_names_are_text(panel):
    text = report(panel).text
    assert "hand, version 3" in text
    assert "18 of 20 right, 90 %" in text
    assert "right in 70 % to 97 %; always saying the most frequent label would be in 50 %" in text
    assert "It has learnt something." in text
    assert "With 30 labels likely 93 %, between 80 % and 98 %." in text
    assert "9 of 10 are told from the others, and 1 of 10 others are taken for it" in text
    assert "own view" in text
    assert text.count(MARKUP) == 4  # both ways of the confusion, a voter, a note
    assert not find_all(panel, "#teaching img")
    curve = find(panel, "#teaching .curve").get_attribute("aria-label")
    assert curve.startswith("5 labels: 70 % (40 % to 90 %); 20 labels")
    cells = [cell.text for cell in find_all(panel, ".confusion td.cell")]
    assert cells == ["9", "1", "1", "9"]
    assert [one.text for one in find_all(panel, ".cell.right")] == ["9", "9"]
    assert faults(panel) == []
    with narrow(panel):
        assert width_needed(panel) <= 360


def test_a_threshold_says_what_it_does_before_it_is_served(panel):
    report(panel)
    slider, said = find(panel, "#threshold"), find(panel, "output")
    assert said.text.startswith("From 50 % on: certain of 80 % of the labels, and right in 100 %")
    slider.send_keys("\ue014")  # arrow right
    assert "From 100 % on" in said.text
    assert "none of them is right" in said.text
    slider.send_keys("\ue012\ue012")
    assert slider.get_attribute("aria-valuetext") == "0 %"
    assert "90 % of all are certain and right (recall)" in said.text
    find(panel, "#serve-threshold").click()
    assert panel.execute_script("return window.told") == [0]


def test_what_a_report_lacks_is_not_shown(panel):
    empty = {"labels": ["a", "b"], "counts": [[0, 0], [0, 0]]}
    text = report(
        panel,
        accuracy=None,
        held_out_by=None,
        words="4 labels: too few to say how often it is right.",
        confusion=empty,
        curve=[],
        forecast=None,
        thresholds=[],
        none=None,
        notes=[],
    ).text
    assert "4 labels: too few to say how often it is right." in text
    assert "Too few labels to draw a curve." in text
    for word in ("null", "undefined", "NaN", "[object"):
        assert word not in text
    luck = REPORT["accuracy"] | {"low": 0.3, "share": 0.6}
    assert "may be luck" in report(panel, accuracy=luck).text


def test_suggestions_lead_to_their_stretch(panel):
    segments = [
        {
            "video": "kitchen-03",
            "start_s": 62.0,
            "end_s": 64.0,
            "votes": {MARKUP: 0.6, "right": 0.4},
            "disagreement": 0.9,
            "distance": 0.1,
            "why": "voters disagree",
        }
    ]
    shown = "(root, [all]) => m.showSuggestions(root, all, {ongo: (one) => window.told.push(one)})"
    text = draw(panel, "teach/suggest.js", shown, segments).text
    assert "kitchen-03, 1:02.00 to 1:04.00" in text
    assert f"voters disagree\n{MARKUP} 60 %, right 40 %" in text
    find(panel, "#teaching li button").click()
    assert panel.execute_script("return window.told") == segments
    assert "Nothing is left" in draw(panel, "teach/suggest.js", shown, []).text
