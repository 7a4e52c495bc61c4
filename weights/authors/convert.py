"""Conversion of the authors' checkpoints to one bundle with the outputs of their code.

The sizes follow from the tensors; the choices that are only in their code are listed here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weights.authors.parts import CheckpointPart, read_part
from weights.authors.taxonomy import count_actions, read_taxonomy
from weights.bundle import Bundle, Tensors, fingerprint
from weights.bundle.manifest import Manifest
from weights.errors import ImportRefused

FEATURES = "omnivore_video_swinl"
"""Ego4D's name of the feature set of all released experiments."""

NUM_NEIGHBOURS = 4
"""k of all released experiments; the tensors do not determine it."""

CHOICES = {
    "norm": "batch",
    "pooling_dropout": 0.5,
    "head_dropout": 0.0,
    "skill_dropout": 0.5,
    "interaction": "authors",
    "interaction_skip": True,
    "distance": "cosine",
    "rematch": False,
    "prototypes": "divided",
    "fusion": "sum",
    "graph_fusion": "mean",
    "future_edges": "last",
    "subsegments": "random",
    "windows": "overlapping",
    "instants": "start",
    "greedy_first": False,
    "future_temperature": 1.0,
    "future_choice": "independent",
    "future_samples": 40,
    "keyframe_rate": "30",
}
"""The part of a model config that is in their code and not in their tensors."""

_BOTH = ["verb", "noun"]
SPECS: dict[str, dict[str, Any]] = {
    task: {
        "name": task,
        "sampling": sampling,
        "readout": readout,
        "num_segments": num_segments,
        "num_nodes": num_nodes,
        "outputs": outputs,
        "reach": 1.5,  # one hop
        "first_position": first_position,
    }
    for task, sampling, readout, num_segments, num_nodes, outputs, first_position in (
        ("ar", "actions", "centre", 9, 9, _BOTH, -4),
        ("lta", "actions", "future", 2, 22, _BOTH, 0),
        ("oscc", "uniform", "graph", 1, 4, ["state"], 0),
        ("pnr", "instants", "nodes", 1, 16, ["keyframe"], 0),
    )
}
"""Task specs, as in a manifest."""

Pairs = tuple[Tensor, Tensor, Tensor]
"""Verb ids, noun ids and counts of the prototypes' actions, each (P,)."""


def import_authors(
    paths: Sequence[Path],
    *,
    taxonomy: Path,
    actions: Path | None = None,
    name: str = "authors",
    num_neighbours: int = NUM_NEIGHBOURS,
    features: str = FEATURES,
    vectors_per_node: int = 3,
) -> Bundle:
    """Returns the bundle of some checkpoints; it takes features and has no encoder.

    Warnings are in `notes` of the manifest's `training`.

    Args:
        paths: checkpoints, each with other tasks.
        taxonomy: Ego4D's `fho_lta_taxonomy.json`.
        actions: Ego4D's `fho_lta_train.json`, to name the prototypes by.
        name: of the bundle.
        num_neighbours: k.
        features: the feature set that the checkpoints were trained on.
        vectors_per_node: S, which the shapes do not determine.

    Raises:
        ImportRefused: a file is malformed, or the files do not go together.
    """
    labels = read_taxonomy(taxonomy)
    num_labels = {space: len(names) for space, names in labels.items()}
    parts = [read_part(path, num_labels, vectors_per_node=vectors_per_node) for path in paths]
    _check_together(parts)
    pairs = None if actions is None else count_actions(actions, labels)
    backpack, doubts = _backpack(parts, pairs)
    manifest = Manifest(
        name=name,
        version="1",
        encoder={"kind": "features", "name": features},
        model=_model(parts, num_neighbours),
        backbones={part.name: _backbone(part) for part in parts},
        skills={task: _skill(task, part) for part in parts for task in part.skills},
        label_spaces=labels,
        training=_training(parts, doubts),
    )
    return Bundle(
        manifest,
        encoder={},
        backbones={part.name: part.backbone for part in parts},
        skills={task: tensors for part in parts for task, tensors in part.skills.items()},
        backpack=backpack,
        card=_card(manifest),
    )


def _backpack(parts: Sequence[CheckpointPart], pairs: Pairs | None) -> tuple[Tensors, list[str]]:
    """Returns the prototypes of all parts with their actions, and warnings."""
    backpack: Tensors = {}
    notes = []
    for part in (part for part in parts if part.prototypes):
        backpack |= {f"{part.name}.{task}": p for task, p in part.prototypes.items()}
        columns, doubt = _name_prototypes(part, pairs)
        names = ("verb_id", "noun_id", "count")
        backpack |= {f"{part.name}/{n}": c.clone() for n, c in zip(names, columns, strict=True)}
        notes += [f"checkpoint of {part.name}: {doubt}"] if doubt else []
    return backpack, notes


def _training(parts: Sequence[CheckpointPart], doubts: list[str]) -> dict[str, Any]:
    """The manifest's provenance of the tensors."""
    notes = [f"checkpoint of {part.name}: {note}" for part in parts for note in part.notes]
    return {
        "data": "not stated by the checkpoints; their authors train on Ego4D",
        "licence": "not stated by the checkpoints",
        "sources": {part.name: part.checkpoint.sha256 for part in parts},
        "notes": notes + doubts,
    }


def _check_together(parts: Sequence[CheckpointPart]) -> None:
    """Raises for two checkpoints of the same task, or of different sizes."""
    owner: dict[str, CheckpointPart] = {}
    for part in parts:
        for task in part.skills:
            other = owner.setdefault(task, part)
            if other is not part:
                raise ImportRefused(
                    f"{other.checkpoint.file} and {part.checkpoint.file} both answer {task}; "
                    "a bundle has one answer to each task: import them into two bundles"
                )
    first = parts[0]
    for part in parts[1:]:
        for size in ("input_size", "hidden_size", "num_layers"):
            _check_same(size, first, part)
    with_backpack = [part for part in parts if part.prototypes]
    for part in with_backpack[1:]:
        _check_same("interaction_layers", with_backpack[0], part)


def _check_same(size: str, one: CheckpointPart, other: CheckpointPart) -> None:
    here, there = getattr(one.sizes, size), getattr(other.sizes, size)
    if here != there:
        raise ImportRefused(
            f"{size} is {here} in {one.checkpoint.file} and {there} in {other.checkpoint.file}; "
            "a bundle has one model config: import them into two bundles"
        )


def _name_prototypes(part: CheckpointPart, pairs: Pairs | None) -> tuple[Pairs, str]:
    """Returns the action of every prototype, and the reason if they are unknown.

    A checkpoint has its prototypes in ascending order of verb and noun, without labels. They are
    known if the split has as many pairs as there are prototypes: then none was left out.
    """
    num = len(next(iter(part.prototypes.values())))
    unknown = torch.full((num,), -1), torch.full((num,), -1), torch.zeros(num, dtype=torch.int64)
    if pairs is None:
        return unknown, "prototypes have no names, as no training annotations were given"
    seen = len(pairs[0])
    if seen == num:
        return pairs, ""
    reason = (
        "the authors' code leaves out the last, incomplete batch of actions when it collects them"
        if num < seen
        else "these are not the annotations it was trained on"
    )
    return unknown, (
        f"{num} prototypes, but the annotations show {seen} pairs of verb and noun: {reason}. "
        "The prototypes cannot be labelled, so evidence shows them as unknown; answers are the same"
    )


def _model(parts: Sequence[CheckpointPart], num_neighbours: int) -> dict[str, Any]:
    sizes = parts[0].sizes
    return {
        **CHOICES,
        "input_size": sizes.input_size,
        "hidden_size": sizes.hidden_size,
        "vectors_per_node": sizes.vectors_per_node,
        "num_layers": sizes.num_layers,
        "final_linear": sizes.num_layers > 0,
        "num_neighbours": num_neighbours,
        "interaction_layers": max(part.sizes.interaction_layers for part in parts),
    }


def _backbone(part: CheckpointPart) -> dict[str, Any]:
    """The manifest's entry of a backbone.

    A checkpoint lacks the backbone that filled its backpack, so it is not verified that the
    prototypes are of these heads: the fingerprint only ties the two files together.
    """
    made = fingerprint(part.backbone)
    return {
        "tasks": [SPECS[task] for task in part.known],
        "fingerprint": made,
        "backpack_fingerprint": made if part.prototypes else None,
    }


def _skill(task: str, part: CheckpointPart) -> dict[str, Any]:
    return {"spec": SPECS[task], "backbone": part.name, "perspectives": list(part.prototypes)}


def _card(manifest: Manifest) -> str:
    training = manifest.training
    sources = "\n".join(f"- {tasks}: SHA-256 {sha}" for tasks, sha in training["sources"].items())
    notes = "\n".join(f"- {note}" for note in training["notes"]) or "- none"
    return f"""# {manifest.name} {manifest.version}

EgoPack (CVPR 2024), imported from checkpoints of the authors' code. It answers
{", ".join(sorted(manifest.skills))} from stored {manifest.encoder["name"]} features; it holds no
video encoder. As in that code, layers are normalised over the whole batch, so an answer depends
on what else is in the batch.

## Sources

{sources}

## Notes

{notes}

## Licence

{training["licence"].capitalize()}. Ego4D's licence applies to models trained on it.
"""
