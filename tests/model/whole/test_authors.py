"""An imported bundle answers as the authors' code: parity with that code's maths, written anew."""

from dataclasses import replace

import pytest
import torch

from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from model.config import ModelConfig
from model.data.annotations import DataRoot
from model.data.tracks import read_tracks
from model.errors import FeatureMismatch, FeaturesMissing
from model.nn.skill_set import build_skills
from model.predict.predictor import Predictor, PredictRequest
from model.tasks import TASKS
from model.train.methods.stages import fill_backpack
from server.engine.bundle_loader import load_predictor
from server.settings.settings import Settings
from tests.support.authors_code import (
    authors_answer,
    authors_prototypes,
    inputs_and_nodes,
    read_out,
)
from tests.support.checkpoints import SMALL, Shape, make_checkpoint, write_labels
from tests.support.factories import make_samples, make_track
from weights.authors.convert import CHOICES, FEATURES, SPECS, import_authors
from weights.bundle import fingerprint, load_bundle, save_bundle
from weights.errors import BundleError


def imported(tmp_path, checkpoints, *, shape=SMALL, **options):
    paths = []
    for i, checkpoint in enumerate(checkpoints):
        paths.append(tmp_path / f"checkpoint{i}.pth")
        torch.save(checkpoint, paths[-1])
    taxonomy, actions = write_labels(tmp_path, shape=shape)
    bundle = import_authors(paths, taxonomy=taxonomy, actions=actions, **options)
    save_bundle(bundle, tmp_path / "bundle")
    return load_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("task", list(TASKS))
def test_a_learnt_task_is_answered_as_the_authors_code_answers_it(tmp_path, task):
    checkpoint = make_checkpoint(task)
    skills = build_skills(imported(tmp_path, [checkpoint]), search="torch")
    inputs, nodes = inputs_and_nodes(task)
    fused = skills({task: inputs})[task].fused()
    expected = authors_answer(checkpoint, task, nodes)
    assert len(fused) == len(expected)
    for ours, theirs in zip(fused.values(), expected, strict=True):
        torch.testing.assert_close(ours, read_out(task, theirs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("layers", [0, 3])
def test_a_multitask_models_heads_answer_as_the_authors_code(tmp_path, task, layers):
    shape = replace(SMALL, layers=layers)
    checkpoint = make_checkpoint(None, shape=shape)
    skills = build_skills(imported(tmp_path, [checkpoint], shape=shape))
    inputs, nodes = inputs_and_nodes(task)
    fused = skills({task: inputs})[task].fused()
    expected = authors_answer(checkpoint, task, nodes, shape)
    for ours, theirs in zip(fused.values(), expected, strict=True):
        torch.testing.assert_close(ours, read_out(task, theirs), atol=1e-5, rtol=1e-5)


def test_what_else_is_asked_does_not_move_a_multitask_models_batch(tmp_path):
    checkpoint = make_checkpoint(None)
    skills = build_skills(imported(tmp_path, [checkpoint]))
    given = {task: inputs_and_nodes(task) for task in TASKS}
    votes = skills({task: inputs for task, (inputs, _) in given.items()})
    for task, (_, nodes) in given.items():
        expected = authors_answer(checkpoint, task, nodes)
        for ours, theirs in zip(votes[task].fused().values(), expected, strict=True):
            torch.testing.assert_close(ours, read_out(task, theirs), atol=1e-5, rtol=1e-5)


def test_four_checkpoints_make_one_bundle_and_each_keeps_its_answers(tmp_path):
    checkpoints = {task: make_checkpoint(task, seed=i) for i, task in enumerate(TASKS)}
    bundle = imported(tmp_path, checkpoints.values())
    skills = build_skills(bundle, search="torch")
    given = {task: inputs_and_nodes(task) for task in TASKS}
    votes = skills({task: inputs for task, (inputs, _) in given.items()})
    assert skills.backbone_passes == 4
    for task, (_, nodes) in given.items():
        expected = authors_answer(checkpoints[task], task, nodes)
        for ours, theirs in zip(votes[task].fused().values(), expected, strict=True):
            torch.testing.assert_close(ours, read_out(task, theirs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"final_linear": False},
        {"norm": "node"},
        {"rematch": True},
        {"interaction_skip": False},
        {"num_neighbours": 1},
    ],
)
def test_every_choice_of_the_authors_matters_to_the_answer(tmp_path, change):
    """So that the parity above cannot pass by a setting that is never looked at."""
    bundle = imported(tmp_path, [make_checkpoint("ar")])
    inputs, _ = inputs_and_nodes("ar")
    theirs = build_skills(bundle, search="torch")({"ar": inputs})["ar"].fused()["verb"]
    bundle.manifest.model.update(change)
    if "final_linear" in change:
        names = ("backbone.last.weight", "backbone.last.bias")
        bundle.backbones["ar"] = {k: v for k, v in bundle.backbones["ar"].items() if k not in names}
        refingerprint(bundle, "ar")
    ours = build_skills(bundle, search="torch")({"ar": inputs})["ar"].fused()["verb"]
    assert not torch.allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize(
    ("task", "change"), [("oscc", {"graph_fusion": "sum"}), ("lta", {"future_edges": "all"})]
)
def test_the_choices_about_one_task_matter_to_it(tmp_path, task, change):
    bundle = imported(tmp_path, [make_checkpoint(task)])
    inputs, _ = inputs_and_nodes(task)
    theirs = build_skills(bundle, search="torch")({task: inputs})[task].fused()
    bundle.manifest.model.update(change)
    ours = build_skills(bundle, search="torch")({task: inputs})[task].fused()
    assert not any(torch.allclose(ours[name], theirs[name], atol=1e-3) for name in ours)


@pytest.fixture
def actions():
    return make_samples(seed=11)["ar"]  # 50: one batch there and here


def learnt_backpacks(tmp_path, checkpoint, actions, **change):
    """Our skills and backpack, and the checkpoint with prototypes as their code collects them."""
    skills = build_skills(imported(tmp_path, [checkpoint]), search="torch")
    (name,) = skills.models
    skills.models[name].config = replace(skills.models[name].config, **change)
    drawn = actions.draw(torch.arange(len(actions)), skills.models[name].config)
    pairs = (drawn.labels["verb"] * SMALL.nouns + drawn.labels["noun"])[:, 0]
    known = list(skills.backpacks[name].prototypes)
    theirs = authors_prototypes(checkpoint, drawn.inputs.flatten(0, 1), pairs, known)
    skills.backpacks[name] = fill_backpack(skills.models[name], actions)
    found = {f"embeddings.{task}.weight": p for task, p in theirs.items()}
    return skills, checkpoint | {"graphone": checkpoint["graphone"] | found}


@pytest.mark.slow
@pytest.mark.parametrize("task", list(TASKS))
def test_prototypes_are_collected_as_the_authors_code_collects_them(tmp_path, task, actions):
    skills, checkpoint = learnt_backpacks(tmp_path, make_checkpoint(task), actions)
    (backpack,) = skills.backpacks.values()
    assert len(backpack.prototypes) == 3
    for known, prototypes in backpack.prototypes.items():
        theirs = checkpoint["graphone"][f"embeddings.{known}.weight"]
        torch.testing.assert_close(prototypes, theirs, atol=1e-5, rtol=1e-5)
    inputs, nodes = inputs_and_nodes(task)
    fused = skills({task: inputs})[task].fused()
    for ours, theirs in zip(fused.values(), authors_answer(checkpoint, task, nodes), strict=True):
        torch.testing.assert_close(ours, read_out(task, theirs), atol=1e-4, rtol=1e-4)


def test_prototypes_that_are_means_answer_otherwise(tmp_path, actions):
    checkpoint = make_checkpoint("ar")
    skills, theirs = learnt_backpacks(tmp_path, checkpoint, actions, prototypes="mean")
    inputs, nodes = inputs_and_nodes("ar")
    ours = skills({"ar": inputs})["ar"].fused()["verb"]
    expected = read_out("ar", authors_answer(theirs, "ar", nodes)[0])
    assert not torch.allclose(ours, expected, atol=1e-3)


def refingerprint(bundle, name):
    made = fingerprint(bundle.backbones[name])
    bundle.manifest.backbones[name] |= {"fingerprint": made, "backpack_fingerprint": made}


def test_the_manifest_spells_out_what_the_model_package_means():
    """`weights` cannot import the model, so this is where the two are held together."""
    assert {name: spec.to_dict() for name, spec in TASKS.items()} == SPECS
    assert ModelConfig.from_dict(CHOICES).to_dict().items() >= CHOICES.items()


@pytest.fixture
def predictor(tmp_path):
    checkpoints = [make_checkpoint(task, seed=i) for i, task in enumerate(TASKS)]
    return Predictor(imported(tmp_path, checkpoints), search="torch")


def request_of(name, tasks=frozenset(TASKS), fingerprint=""):
    track = make_track(480, encoder=EncoderId(name, fingerprint), width=SMALL.d_in)
    return PredictRequest(track, tasks)


def test_stored_features_are_answered_without_an_encoder(predictor):
    answer = predictor.predict([request_of(FEATURES)])[0]
    assert len(answer.segments) == 2
    assert answer.segments[0].ar is not None
    assert answer.lta is not None
    assert answer.segments[0].evidence.neighbours["ar"]["oscc"][0].verb.startswith("verb")


@pytest.mark.parametrize(("name", "fingerprint"), [("slowfast", ""), (FEATURES, "f" * 64)])
def test_features_of_another_name_or_network_are_refused(predictor, name, fingerprint):
    with pytest.raises(FeatureMismatch, match=FEATURES):
        predictor.predict([request_of(name, fingerprint=fingerprint)])


def test_prototypes_without_names_are_called_unknown(tmp_path):
    path = tmp_path / "c.pth"
    torch.save(make_checkpoint("ar"), path)
    taxonomy, _ = write_labels(tmp_path)
    predictor = Predictor(import_authors([path], taxonomy=taxonomy), search="torch")
    answer = predictor.predict([request_of(FEATURES, frozenset({"ar"}))])[0]
    closest = answer.segments[0].evidence.neighbours["ar"]["oscc"]
    assert {(n.verb, n.noun, n.count) for n in closest} == {("unknown", "unknown", 0)}


def test_a_video_without_stored_features_is_named(predictor, tmp_path):
    store = FeatureStore(tmp_path / FEATURES)
    with pytest.raises(FeaturesMissing, match=f"video v1.*--datasets {FEATURES}"):
        read_tracks(DataRoot(tmp_path), ["v1"], store, predictor.encoder)


@pytest.mark.parametrize("name", [None, "", 3])
def test_the_encoder_entry_names_a_feature_set(predictor, tmp_path, name):
    bundle = load_bundle(tmp_path / "bundle")
    bundle.manifest.encoder["name"] = name
    with pytest.raises(BundleError, match=r"encoder\.safetensors.*name of a feature set"):
        Predictor(bundle)


def test_the_server_refuses_a_bundle_that_cannot_see_video(predictor, tmp_path):
    settings = Settings(bundle=tmp_path / "bundle")
    with pytest.raises(BundleError, match=f"this bundle answers for {FEATURES} features"):
        load_predictor(settings)


def test_real_sizes_are_read_off_the_tensors(tmp_path):
    shape = Shape(d_in=10, width=16, layers=2, depth=3, verbs=9, nouns=6, prototypes=11)
    bundle = imported(
        tmp_path, [make_checkpoint("pnr", shape=shape)], shape=shape, num_neighbours=2
    )
    model = ModelConfig.from_dict(bundle.manifest.model)
    assert (model.input_size, model.hidden_size, model.num_layers) == (10, 16, 2)
    assert (model.interaction_layers, model.num_neighbours) == (3, 2)
    assert build_skills(bundle).backpacks["pnr"].prototypes["ar"].shape == (11, 16)
