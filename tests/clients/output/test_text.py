import json

import editdistance
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.output.text import Truth, describe, edit_distances, levenshtein
from clients.results.predictions import JointAction, PredictionResult

words = st.lists(st.sampled_from("abcd"), max_size=12)


@given(words, words)
def test_levenshtein_agrees_with_the_library(one, other):
    assert levenshtein(one, other) == editdistance.eval(one, other)


def truth_file(tmp_path, **changes):
    values = {
        "source": "made up",
        "segment": [0.0, 8.0],
        "ar": {"verb": "cut", "noun": "carrot"},
        "oscc": {"state_change": True},
        "pnr": {"time_s": 3.6},
        "lta": [{"verb": "put", "noun": "knife"}] * 20,
    } | changes
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(values))
    return path


def test_each_answer_stands_beside_the_truth(answer, tmp_path):
    text = describe(PredictionResult.from_dict(answer), Truth.from_file(truth_file(tmp_path)))
    lines = text.splitlines()
    rows = {line.split()[0]: line for line in lines if line[:3].isupper()}
    assert "cut carrot (81%, 77%)" in rows["AR"]
    assert rows["AR"].endswith("cut carrot  *")
    assert rows["OSCC"].endswith("yes  *")
    assert rows["PNR"].endswith("3.60 s  (0.10 s off)")
    assert rows_starting(lines, "1 put") == ["1 put knife put knife *"]
    assert any("edit distance" in line for line in lines)
    assert rows_starting(lines, "hand") == ["hand both (88%)"]
    assert rows_starting(lines, "1 kitchen") == ["1 kitchen (64%)"]


def rows_starting(lines, start):
    squeezed = [" ".join(line.split()) for line in lines]
    return [line for line in squeezed if line.startswith(start)]


def test_a_wrong_answer_is_not_marked(answer, tmp_path):
    truth = Truth.from_file(
        truth_file(
            tmp_path,
            ar={"verb": "cut", "noun": "leek"},
            oscc={"state_change": False},
            pnr={"time_s": None},
            lta=[{"verb": "take", "noun": "knife"}],
        )
    )
    text = describe(PredictionResult.from_dict(answer), truth)
    assert "*" not in text
    assert "cut leek" in text
    assert "never" in text


def test_without_truth_the_answers_still_read(answer):
    text = describe(PredictionResult.from_dict(answer))
    assert "cut carrot" in text
    assert "truth" not in text


def test_answers_not_asked_for_are_left_out(answer):
    del answer["lta"], answer["segments"][0]["oscc"], answer["segments"][0]["pnr"]
    text = describe(PredictionResult.from_dict(answer))
    assert "LTA" not in text
    assert "OSCC" not in text


def test_edit_distances_are_those_of_the_best_future(answer):
    lta = PredictionResult.from_dict(answer).lta
    near, far = [JointAction("put", "cup")] * 20, [JointAction("x", "y")] * 20
    lta = type(lta)(lta.observed, lta.steps, [far, near])
    truth = [JointAction("put", "knife")] * 20
    assert edit_distances(lta, truth) == {"verb": 0.0, "noun": 1.0, "action": 1.0}


def test_truth_may_name_all_segments_to_ask_for(tmp_path):
    path = truth_file(tmp_path, segment=[8, 16], segments=[[0, 8], [8, 16]])
    truth = Truth.from_file(path)
    assert truth.segments == ((0.0, 8.0), (8.0, 16.0))
    assert Truth.from_file(truth_file(tmp_path)).segments == ((0.0, 8.0),)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"segment": [1]}'])
def test_another_file_is_not_a_truth_file(tmp_path, text):
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a truth file"):
        Truth.from_file(path)


def test_examples_are_named_where_a_skill_has_them(answer):
    assert "like your examples for hand:  both (kitchen-03, 12.0 to 20.0 s, 0.93)" in describe(
        PredictionResult.from_dict(answer)
    )
    del answer["segments"][0]["evidence"]["examples"]
    assert "your examples" not in describe(PredictionResult.from_dict(answer))


@pytest.mark.parametrize("more", [{}, {"is_certain": True}, {"is_certain": False}])
def test_doubt_is_said_where_a_skill_has_a_threshold(answer, more):
    labels = [{"id": 0, "label": "both", "probability": 0.5}]
    answer["segments"][0]["skills"] = {"hand": {"labels": labels, **more}}
    result = PredictionResult.from_dict(answer)
    assert result.segments[0].skills["hand"].is_certain is more.get("is_certain")
    assert ("both (50%), not certain" in describe(result)) == (more.get("is_certain") is False)
