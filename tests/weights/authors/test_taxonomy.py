import json

import pytest
import torch

from tests.support.checkpoints import SMALL, make_checkpoint, write_labels
from weights.authors.convert import import_authors
from weights.errors import CheckpointInvalid


@pytest.fixture
def labels(tmp_path):
    return write_labels(tmp_path)


def prototypes(tmp_path, labels, actions):
    torch.save(make_checkpoint("ar"), tmp_path / "ar.pth")
    bundle = import_authors([tmp_path / "ar.pth"], taxonomy=labels[0], actions=actions)
    columns = [bundle.backpack[f"ar/{name}"].tolist() for name in ("verb_id", "noun_id", "count")]
    return columns, bundle.manifest.training["notes"]


def test_prototypes_are_named_in_ascending_order_of_verb_and_noun(tmp_path, labels):
    (verb, noun, count), notes = prototypes(tmp_path, labels, labels[1])
    pair = [v * SMALL.nouns + n for v, n in zip(verb, noun, strict=True)]
    assert pair == [2 * i for i in range(SMALL.prototypes)]
    assert count == [2 * i % 3 + 1 for i in range(SMALL.prototypes)]
    assert notes == []


@pytest.mark.parametrize(("pairs", "reason"), [(8, "incomplete batch"), (6, "not the annotations")])
def test_prototypes_stay_unnamed_where_counts_disagree(tmp_path, labels, pairs, reason):
    _, actions = write_labels(tmp_path, pairs=pairs)
    (verb, noun, count), notes = prototypes(tmp_path, labels, actions)
    assert (set(verb), set(noun), set(count)) == ({-1}, {-1}, {0})
    assert f"7 prototypes, but the annotations show {pairs} pairs" in notes[0]
    assert reason in notes[0]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"clips": []}', '{"clips": [{"verb_label": 0}]}', "[3]"]
    + [json.dumps([{"verb_label": 0, "noun_label": bad}]) for bad in (-1, 4, None, "1")],
)
def test_actions_without_labels_of_the_taxonomy_are_refused(tmp_path, labels, text):
    labels[1].write_text(text)
    with pytest.raises(CheckpointInvalid, match=r"fho_lta_train\.json"):
        prototypes(tmp_path, labels, labels[1])


@pytest.mark.parametrize(("verb", "is_right"), [("verb1_(x)", True), ("VERB1", True), ("v", False)])
def test_an_actions_text_is_the_taxonomys_name_of_its_label(tmp_path, labels, verb, is_right):
    rows = json.loads(labels[1].read_text())["clips"]
    next(row for row in rows if row["verb_label"] == 1)["verb"] = verb
    labels[1].write_text(json.dumps(rows))
    if is_right:
        assert prototypes(tmp_path, labels, labels[1])[1] == []
        return
    with pytest.raises(CheckpointInvalid, match="verb_label 1 is 'v' in an action and 'verb1'"):
        prototypes(tmp_path, labels, labels[1])


@pytest.mark.parametrize("text", ["", "[]", '{"verbs": ["a"]}', '{"verbs": [], "nouns": ["b"]}'])
def test_a_taxonomy_that_names_nothing_is_refused(tmp_path, labels, text):
    labels[0].write_text(text)
    with pytest.raises(CheckpointInvalid, match=r"fho_lta_taxonomy\.json"):
        prototypes(tmp_path, labels, None)
