"""A sound file passes; every corruption is refused, by the id it is in."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.score.submission import ChallengeFile, report, write_submission
from model.score.test_set import ChallengeItem

Y = {"verb": 7, "noun": 5}
IDS = [f"clip-{i}_7" for i in range(4)]
LENGTHS = [150, 181, 200, 240]
QUESTIONS = [
    ChallengeItem(i, "v", ((100, 100 + n),)) for i, n in zip(IDS, LENGTHS, strict=True)
]  # fmt: skip
LAYOUTS = {task: ChallengeFile(task, QUESTIONS, Y) for task in ("lta", "oscc", "pnr")}


def futures(count):
    return st.lists(
        st.lists(st.integers(0, count - 1), min_size=20, max_size=20), min_size=5, max_size=5
    )


ANSWER = {
    "lta": lambda _: st.fixed_dictionaries({name: futures(n) for name, n in Y.items()}),
    "oscc": lambda _: st.booleans(),
    "pnr": lambda n: st.floats(0, n) | st.integers(0, n),
}


def answers(task):
    return st.fixed_dictionaries({i: ANSWER[task](n) for i, n in zip(IDS, LENGTHS, strict=True)})


TASK_AND_ANSWERS = st.sampled_from(list(LAYOUTS)).flatmap(
    lambda task: st.tuples(st.just(task), answers(task))
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("files") / "file.json"


def problems_of(path, task, text):
    path.write_text(text, encoding="utf-8")
    return LAYOUTS[task].read(path)[1]


@pytest.mark.slow
@settings(max_examples=60)
@given(TASK_AND_ANSWERS)
def test_what_was_written_is_sound_and_reads_back(path, case):
    task, given_answers = case
    path.unlink(missing_ok=True)
    assert write_submission(LAYOUTS[task], given_answers, path) == []
    assert LAYOUTS[task].read(path) == (given_answers, [])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@settings(max_examples=60)
@given(TASK_AND_ANSWERS, st.randoms())
def test_the_order_of_entries_does_not_matter(path, case, random):
    task, given_answers = case
    values = json.loads(LAYOUTS[task].compose(given_answers))
    entries = list(values.items()) if task == "lta" else values
    random.shuffle(entries)
    shuffled = dict(entries) if task == "lta" else entries
    assert problems_of(path, task, json.dumps(shuffled)) == []


@pytest.mark.slow
@settings(max_examples=60)
@given(TASK_AND_ANSWERS, st.sampled_from(IDS), st.data())
def test_an_absent_a_foreign_and_a_repeated_id_are_named(path, case, name, data):
    task, given_answers = case
    body = json.loads(LAYOUTS[task].compose(given_answers))
    entries = (
        [json.dumps({k: v})[1:-1] for k, v in body.items()]
        if task == "lta"
        else [json.dumps(row) for row in body]
    )
    place, kind = IDS.index(name), data.draw(st.sampled_from(["missing", "extra", "duplicate"]))
    if kind == "missing":
        del entries[place]
    elif kind == "duplicate":
        entries.insert(data.draw(st.integers(0, len(entries))), entries[place])
    else:
        name = data.draw(st.sampled_from(["clip-9_7", "", name + " ", name.upper()]))
        entries.append(entries[place].replace(IDS[place], name))
    joined = ", ".join(entries)
    text = f"{{{joined}}}" if task == "lta" else f"[{joined}]"
    assert [(p.kind, p.id) for p in problems_of(path, task, text)] == [(kind, name)]


JUNK = [None, True, "3", 2.0, -1, 10**30, math.nan, math.inf, -math.inf, [], {}, [1], {"a": 1}]
WRONG = {
    "lta": JUNK + [Y["noun"] + 20],
    "oscc": [v for v in JUNK if v is not True] + [0, 1, "true"],
    "pnr": [v for v in JUNK if v != 2.0] + [-1e-9, 240.001, "84.5", False],
}


@pytest.mark.slow
@settings(max_examples=200)
@given(TASK_AND_ANSWERS, st.sampled_from(IDS), st.data())
def test_a_wrong_value_is_refused_by_its_id(path, case, name, data):
    task, given_answers = case
    wrong = data.draw(st.sampled_from(WRONG[task]))
    if task == "lta":
        head, k, z = (data.draw(s) for s in (st.sampled_from(["verb", "noun"]),
                                             st.integers(0, 4), st.integers(0, 19)))  # fmt: skip
        given_answers[name][head][k][z] = wrong
    else:
        given_answers[name] = wrong
    found = problems_of(path, task, LAYOUTS[task].compose(given_answers))
    assert [(p.kind, p.id) for p in found] == [("label" if task == "lta" else "value", name)]


@pytest.mark.parametrize("head", ["verb", "noun"])
def test_a_label_past_the_end_of_its_own_space_is_refused(path, head):
    fine = {name: {h: [[n - 1] * 20] * 5 for h, n in Y.items()} for name in IDS}
    assert problems_of(path, "lta", LAYOUTS["lta"].compose(fine)) == []
    fine[IDS[2]] = {**fine[IDS[2]], head: [[Y[head]] * 20] * 5}
    (first, *rest) = problems_of(path, "lta", LAYOUTS["lta"].compose(fine))
    assert (first.kind, first.id) == ("label", IDS[2])
    assert len(rest) == 4  # one a future, not one a step
    assert f"0-{Y[head] - 1}, got {Y[head]}" in first.detail


def test_a_keyframe_is_bounded_by_its_own_segment(path):
    fine = dict(zip(IDS, map(float, LENGTHS), strict=True))
    assert problems_of(path, "pnr", LAYOUTS["pnr"].compose(fine)) == []
    for name, length in zip(IDS, LENGTHS, strict=True):
        text = LAYOUTS["pnr"].compose(fine | {name: length + 0.5})
        assert [p.id for p in problems_of(path, "pnr", text)] == [name]


@pytest.mark.slow
@settings(max_examples=60)
@given(answers("lta"), st.sampled_from(IDS), st.data())
def test_a_wrong_number_of_futures_or_steps_is_refused_by_id(path, given_answers, name, data):
    futures_of_head = given_answers[name][data.draw(st.sampled_from(["verb", "noun"]))]
    which = data.draw(st.sampled_from([futures_of_head, futures_of_head[2]]))
    which[:] = (
        which[: data.draw(st.integers(0, len(which) - 1))]
        if data.draw(st.booleans())
        else [*which, which[0]]
    )
    found = problems_of(path, "lta", LAYOUTS["lta"].compose(given_answers))
    assert [(p.kind, p.id) for p in found] == [("length", name)]


@pytest.mark.parametrize("wrong", [3, None, "12345", {"a": 1}])
def test_what_is_no_list_of_futures_or_steps_is_refused_by_id(path, wrong):
    fine = {name: {h: [[0] * 20] * 5 for h in Y} for name in IDS}
    for spoilt in (wrong, [*[[0] * 20] * 4, wrong]):
        text = LAYOUTS["lta"].compose(fine | {IDS[1]: {"verb": spoilt, "noun": [[0] * 20] * 5}})
        assert [(p.kind, p.id) for p in problems_of(path, "lta", text)] == [("length", IDS[1])]


@pytest.mark.parametrize(
    "entry",
    [
        '{"verb": [], "noun": [], "verb": []}',
        '{"verb": []}',
        '{"verb": [], "noun": [], "action": []}',
        "[]",
        "3",
    ],
)
def test_fields_of_a_forecast_are_verb_and_noun_once_each(path, entry):
    fine = {name: {h: [[0] * 20] * 5 for h in Y} for name in IDS}
    spoilt = LAYOUTS["lta"].compose(fine).replace(json.dumps(fine[IDS[1]]), entry, 1)
    found = problems_of(path, "lta", spoilt)
    assert [(p.kind, p.id) for p in found] == [("layout", IDS[0])]


@pytest.mark.parametrize(
    "fields",
    ['"state_change": true, "pnr_frame": 3', '"state_change": true, "state_change": true',
     '"state": true', '"unique_id": "clip-1_7", "state_change": true'],
)  # fmt: skip
def test_fields_of_a_row_are_id_and_answer_once_each(path, fields):
    rows = [f'{{"unique_id": "{name}", "state_change": true}}' for name in IDS]
    rows[1] = f'{{"unique_id": "{IDS[1]}", {fields}}}'
    found = problems_of(path, "oscc", f"[{', '.join(rows)}]")
    assert ("layout", IDS[1]) in [(p.kind, p.id) for p in found]


@pytest.mark.parametrize("row", ["null", "[]", '{"unique_id": 3, "state_change": true}', '"a"'])
def test_a_row_without_an_id_is_named_by_its_place(path, row):
    rows = [f'{{"unique_id": "{name}", "state_change": true}}' for name in IDS]
    found = problems_of(path, "oscc", f"[{', '.join([*rows, row])}]")
    assert [(p.kind, p.id) for p in found] == [("layout", "entry 4")]


@pytest.mark.parametrize("task", list(LAYOUTS))
def test_a_file_cut_off_anywhere_is_refused(path, task):
    answer = {"lta": {h: [[0] * 20] * 5 for h in Y}, "oscc": True, "pnr": 1.5}[task]
    whole = LAYOUTS[task].compose(dict.fromkeys(IDS, answer)).rstrip()
    for cut in range(0, len(whole), 1 + len(whole) // 500):
        assert problems_of(path, task, whole[:cut]), cut


@pytest.mark.parametrize("text", ["", "null", "3", '"x"', "[" * 100_000, "9" * 5000, "\ufeff[]"])
@pytest.mark.parametrize("task", list(LAYOUTS))
def test_something_else_altogether_is_refused(path, task, text):
    assert problems_of(path, task, text)[0].kind == "layout"


def test_one_task_s_file_is_not_another_s(path):
    text = LAYOUTS["oscc"].compose(dict.fromkeys(IDS, True))
    assert problems_of(path, "oscc", text) == []
    assert problems_of(path, "pnr", text)
    assert problems_of(path, "lta", text)


def test_a_file_that_would_be_wrong_leaves_the_old_one_in_place(path):
    fine = dict.fromkeys(IDS, 3.0)
    write_submission(LAYOUTS["pnr"], fine, path)
    before = path.read_bytes()
    found = write_submission(LAYOUTS["pnr"], fine | {IDS[3]: math.nan}, path)
    assert [(p.kind, p.id) for p in found] == [("value", IDS[3])]
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_report_counts_everything_and_shows_ten(path):
    lines = report(problems_of(path, "oscc", json.dumps(
        [{"unique_id": f"x{i}", "state_change": 1} for i in range(9)]
    ))).splitlines()  # fmt: skip
    assert lines[0] == "9 extra, 4 missing"
    assert len(lines) == 12
    assert lines[-1].strip() == "... and 3 more"
    assert IDS[0] in lines[1]
