"""An imported bundle answers as the authors' code: parity with that code's maths, written anew.

The reference below works on a checkpoint's own tensors and shares nothing with the model: loops
over nodes for the graph, the whole graph of prototypes and features for the interaction.
"""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from extract.store import FeatureStore
from extract.track import EncoderId
from model.config import ModelConfig
from model.data.annotations import DataRoot
from model.data.tracks import read_tracks
from model.errors import FeatureMismatch, FeaturesMissing
from model.predictor import Predictor, PredictRequest
from model.skills import build_skills
from model.tasks import TASKS
from server.engine import load_predictor
from server.settings import Settings
from tests.checkpoints import ENTRY, SMALL, Shape, make_checkpoint, write_labels
from tests.factories import make_track
from weights.authors import CHOICES, FEATURES, SPECS, import_authors
from weights.bundle import fingerprint, load_bundle, save_bundle
from weights.errors import BundleError

NODES = {"ar": 9, "lta": 22, "oscc": 4, "pnr": 16}
FIRST = {"ar": -4, "lta": 0, "oscc": 0, "pnr": 0}
GRAPHS = 3
K = 4


# ---- the reference ------------------------------------------------------------------------------


def linear(state, name, x):
    y = x @ state[f"{name}.weight"].T
    return y + state[f"{name}.bias"] if f"{name}.bias" in state else y


def layer_norm(state, name, x):
    centred = x - x.mean(dim=1, keepdim=True)
    deviation = (centred.pow(2).mean(dim=1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * state[f"{name}.weight"] + state[f"{name}.bias"]


def whole_batch_norm(state, name, x):
    deviation = ((x - x.mean()) ** 2).mean().sqrt()
    return (x - x.mean()) / (deviation + 1e-5) * state[f"{name}.weight"] + state[f"{name}.bias"]


def sources_of(task, node):
    """Nodes whose messages reach a node: one hop, and the last input for every future node."""
    near = {node - 1, node + 1} & set(range(NODES[task]))
    return near | ({1} if task == "lta" and node >= 2 else set())


def temporal_graph(state, task, x, layers):
    """(M, 3, D_in) nodes of whole graphs, one after the other -> (M, D)."""
    h = x.flatten(1)
    for step in (0, 4):
        h = linear(state, f"temporal_pooling.proj.{step}", h)
        h = layer_norm(state, f"temporal_pooling.proj.{step + 1}", h).relu()
    pooled = linear(state, "temporal_pooling.proj.8", h)
    if layers == 0:
        return pooled
    size = NODES[task]
    place = torch.arange(len(x)) % size + FIRST[task]
    angle = place[:, None] * state["positional_encoding.frequency"]
    h = pooled + torch.cat([angle.sin(), angle.cos()], dim=1)
    for layer in range(layers):
        conv = f"net.module_{3 * layer}"
        projected = linear(state, f"{conv}.lin", h).relu()
        messages = torch.stack(
            [
                projected[[i - i % size + j for j in sorted(sources_of(task, i % size))]].mean(0)
                for i in range(len(h))
            ]
        )
        h = linear(state, f"{conv}.lin_l", messages) + linear(state, f"{conv}.lin_r", h)
        h = whole_batch_norm(state, f"net.module_{3 * layer + 1}", h)
        h = torch.where(h > 0, h, 0.2 * h)
    return pooled + linear(state, f"net.module_{3 * layers}", h)


def project(state, f):
    return linear(state, "net.4", layer_norm(state, "net.2", linear(state, "net.1", f)).relu())


def interact(state, task, features, depth):
    """The whole graph of prototypes and features is convolved; edges come from the first look."""
    prototypes = state[f"embeddings.{task}.weight"]
    cosine = F.cosine_similarity(features[:, None], prototypes[None], dim=2)
    closest = cosine.argsort(dim=1, descending=True)[:, :K]
    h = features
    for layer in range(depth):
        stage = f"conv_stages.{task}.{layer}"
        nodes = torch.cat([prototypes, h])
        largest = nodes.clone()  # every node is its own neighbour
        for i, rows in enumerate(closest.tolist()):
            largest[len(prototypes) + i] = nodes[[*rows, len(prototypes) + i]].amax(dim=0)
        u = linear(state, f"{stage}.module_0.lin_l", largest)
        u = u + linear(state, f"{stage}.module_0.lin_r", nodes)
        u = linear(state, f"{stage}.module_3", layer_norm(state, f"{stage}.module_1", u).relu())
        h = u[len(prototypes) :] + h
    return h


def classify(state, task, features, prefix):
    """Logits of every node, or of every graph for OSCC, one tensor per output."""
    if task == "oscc":
        features = features.unflatten(0, (-1, NODES[task])).amax(dim=1)
    if task in ("ar", "lta"):
        return [linear(state, f"{prefix}.{i}.1", features) for i in (0, 1)]
    return [linear(state, f"{prefix}.1", features)]


def authors_answer(checkpoint, task, x, shape=SMALL):
    """Logits as the authors' validation computes them, output by output."""
    head = checkpoint[ENTRY[task]]
    f = temporal_graph(checkpoint["temporal_graph"], task, x, shape.layers)
    own = "classifiers" if task in ("ar", "lta") else "classifier"
    votes = [classify(head, task, project(head, f), own)]
    stages = checkpoint.get("graphone") or {}
    for other in sorted({name.split(".")[1] for name in stages}):
        view = interact(stages, other, project(checkpoint[ENTRY[other]], f), shape.depth)
        votes.append(classify(head, task, view, f"aux_classifiers.{other}"))
    joined = [torch.stack(each) for each in zip(*votes, strict=True)]
    return [each.mean(dim=0) if task == "oscc" else each.sum(dim=0) for each in joined]


def inputs_and_nodes(task, seed=7):
    """What our model takes, (G, n, S, D_in), and the same graphs' nodes, (G*N, S, D_in)."""
    generator = torch.Generator().manual_seed(seed)
    seen = 2 if task == "lta" else NODES[task]
    inputs = torch.randn(GRAPHS, seen, SMALL.vectors, SMALL.d_in, generator=generator)
    future = inputs.mean(dim=1, keepdim=True).repeat(1, NODES[task] - seen, 1, 1)
    return inputs, torch.cat([inputs, future], dim=1).flatten(0, 1)


def read_out(task, logits):
    """The nodes a task is scored on, (G, n, Y)."""
    if task == "oscc":
        return logits.unsqueeze(1)
    per_graph = logits.unflatten(0, (GRAPHS, NODES[task]))
    return {"ar": per_graph[:, 4:5], "lta": per_graph[:, 2:], "pnr": per_graph}[task]


# ---- the tests ----------------------------------------------------------------------------------


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


def refingerprint(bundle, name):
    made = fingerprint(bundle.backbones[name])
    bundle.manifest.backbones[name] |= {"fingerprint": made, "backpack_fingerprint": made}


def test_the_manifest_spells_out_what_the_model_package_means():
    """`weights` cannot import the model, so this is where the two are held together."""
    assert {name: spec.to_dict() for name, spec in TASKS.items()} == SPECS
    assert ModelConfig.from_dict(CHOICES).to_dict().items() >= CHOICES.items()


# ---- a bundle without an encoder ----------------------------------------------------------------


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
