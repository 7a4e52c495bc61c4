"""The card on a hub, read back by the hub's own library."""

import json
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from tests.weights.bundles import make_bundle
from weights import SHIPPED_BUNDLE
from weights.bundle.files import read_files
from weights.bundle.hub_card import hub_card

URL = "hf://owner/name"
TINY = make_bundle().manifest


def data_of(manifest):
    return ModelCard(hub_card(manifest, "# words\n", URL)).data


def test_the_shipped_bundle_is_described_by_its_manifest():
    files = read_files(SHIPPED_BUNDLE)
    own = files.parts["MODEL_CARD.md"].decode()
    card = ModelCard(hub_card(files.manifest, own, URL))
    assert own.strip() in card.text
    assert f"python -m server --bundle {URL}\n" in card.text
    values = card.data.to_dict()
    expected = {
        "license": "apache-2.0",
        "library_name": "egopack-server",
        "pipeline_tag": "video-classification",
        "tags": ["egocentric-video", "egopack", "action-recognition", "action-anticipation"]
        + ["state-change-classification", "keyframe-localization", "encoder-tabletop"],
    }
    assert {key: values[key] for key in expected} == expected
    assert not {"base_model", "datasets"} & set(values)

    stated = {
        (split, f"{task} {metric}"): value
        for split, tasks in files.manifest.metrics.items()
        for task, metrics in tasks.items()
        for metric, value in metrics.items()
        if metric != "samples"
    }
    found = {(r.dataset_split, r.metric_name): r.metric_value for r in card.data.eval_results}
    assert found == pytest.approx(stated, abs=5e-5)
    kinds = {r.metric_name: r.metric_type for r in card.data.eval_results}
    assert (kinds["ar verb_top1"], kinds["lta verb_ed"]) == ("accuracy", "verb_ed")
    assert {r.dataset_name for r in card.data.eval_results} == {files.manifest.training["data"]}


def test_an_encoder_of_a_repository_is_the_base_model():
    origin = {"repository": "maker/encoder", "revision": "a" * 40, "licence": "mit"}
    manifest = replace(TINY, encoder={"name": "enc", "origin": origin}, training={"licence": "MIT"})
    data = data_of(manifest)
    assert (data.base_model, data.license) == ("maker/encoder", "mit")
    assert not any(tag.startswith("encoder") for tag in data.tags)


@pytest.mark.parametrize(
    ("licence", "of_encoder", "said"),
    [
        ("Apache-2.0", None, "apache-2.0"),
        ("CC BY-NC 4.0", "cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("apache-2.0", "cc-by-nc-4.0", "other"),
        ("Ego4D's licence binds those who train on it", None, "other"),
        (None, None, "other"),
    ],
)
def test_a_licence_is_one_that_hubs_know_and_holds_for_all_or_is_other(licence, of_encoder, said):
    encoder = {"name": "enc", "origin": {"licence": of_encoder}}
    assert data_of(replace(TINY, encoder=encoder, training={"licence": licence})).license == said


@pytest.mark.parametrize(
    ("data", "datasets"),
    [
        ("Ego4D v1 annotations with omnivore features", ["ego4d"]),
        ("not stated by the checkpoints; their authors train on Ego4D", ["ego4d"]),
        ("EPIC-KITCHENS-100 and EGTEA Gaze+", ["epic-kitchens-100", "egtea"]),
        ("tabletop, a generated world (not Ego4D)", None),
        ("a spreadsheet", None),
    ],
)
def test_public_data_sets_are_named(data, datasets):
    assert data_of(replace(TINY, training={"data": data})).datasets == datasets


def test_a_bundle_without_scores_words_or_known_tasks_has_a_card_too():
    manifest = replace(TINY, skills={"my task: 1": {}}, metrics={"val": {"ar": {"samples": 3.0}}})
    card = ModelCard(hub_card(manifest, "", URL))
    assert card.text.strip().startswith("# tiny 1\n")
    assert "my task: 1" in card.data.tags
    assert not card.data.eval_results


def test_scores_that_are_no_numbers_are_left_out():
    scores = {"verb_top1": json.loads("NaN"), "noun_top1": 0.5, "note": "on val"}
    metrics = {"val": {"ar": scores, "note": "few labels"}, "note": "of 2024"}
    (result,) = data_of(replace(TINY, metrics=metrics)).eval_results
    assert (result.metric_name, result.metric_value) == ("ar noun_top1", 0.5)
