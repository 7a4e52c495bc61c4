"""Conversion of one checkpoint of the authors' code: backbone, skills on it, prototypes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from weights.authors.checkpoint import Checkpoint, Entry, read_checkpoint
from weights.authors.layout import (
    FREQUENCY,
    OUTPUTS,
    PARTS,
    Sizes,
    backbone_layout,
    head_layout,
    interaction_layout,
    translate,
)
from weights.bundle import Tensors
from weights.errors import CheckpointInvalid

GRAPH, BACKPACK = "temporal_graph", "graphone"
ENTRIES = frozenset({GRAPH, BACKPACK, *PARTS.values()})
FACTS = frozenset({"epoch"})


@dataclass(frozen=True, eq=False)
class CheckpointPart:
    """The tensors of one checkpoint, under the names of a bundle.

    Attributes:
        checkpoint: their source.
        sizes: of the model.
        backbone: tensors of the multi-task model: backbone and known tasks' heads.
        known: those tasks.
        skills: task -> tensors of its skill.
        prototypes: perspective of the skill -> (P, D); empty without a backpack.
        notes: warnings for the manifest.
    """

    checkpoint: Checkpoint
    sizes: Sizes
    backbone: Tensors
    known: list[str]
    skills: dict[str, Tensors]
    prototypes: Tensors = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the backbone in a bundle: its skills' tasks."""
        return "-".join(self.skills)


def read_part(
    path: Path, num_labels: Mapping[str, int], *, vectors_per_node: int = 3
) -> CheckpointPart:
    """Reads a checkpoint of either stage; `num_labels` is of each label space of the taxonomy.

    Raises:
        CheckpointInvalid: a tensor is missing, unknown or of the wrong shape, or the file is no
            checkpoint of the authors' code.
    """
    checkpoint = read_checkpoint(path, entries=ENTRIES, facts=FACTS)
    if GRAPH not in checkpoint.entries:
        raise CheckpointInvalid(checkpoint.file, f"no entry {GRAPH}: is it the authors' code's?")
    graph = checkpoint.entries[GRAPH]
    sizes = _sizes(checkpoint, num_labels, vectors_per_node)
    backbone = translate(graph, backbone_layout(sizes))
    frequency = graph.tensors[FREQUENCY]  # angle = position * frequency, from 1 down to 1/10000
    if not torch.allclose(frequency.float(), torch.logspace(0, -4, len(frequency)), rtol=1e-4):
        raise graph.error(f"{FREQUENCY} does not run from 1 to 1e-4 in equal ratios")
    read = _second_stage if BACKPACK in checkpoint.entries else _first_stage
    return read(checkpoint, sizes, backbone)


def _sizes(checkpoint: Checkpoint, num_labels: Mapping[str, int], vectors: int) -> Sizes:
    """Sizes from the tensors' names and shapes."""
    graph = checkpoint.entries[GRAPH]
    first = "temporal_pooling.proj.0.weight"
    if first not in graph.tensors or graph.tensors[first].ndim != 2:
        raise graph.error(f"no matrix {first}: the importer supports models with TRN pooling")
    width, columns = graph.tensors[first].shape
    if columns % vectors:
        raise graph.error(f"{first} has {columns} columns, not a multiple of {vectors} vectors")
    for entry in (checkpoint.entries[p] for p in PARTS.values() if p in checkpoint.entries):
        _check_labels(entry, num_labels)
    rounds = [0]
    if BACKPACK in checkpoint.entries:
        stages = checkpoint.entries[BACKPACK]
        rounds += [len(stages.names_under(f"conv_stages.{t}")) for t in OUTPUTS]
    return Sizes(
        input_size=columns // vectors,
        hidden_size=width,
        vectors_per_node=vectors,
        num_layers=sum(name.endswith(".lin_l.weight") for name in graph.tensors),
        interaction_layers=max(rounds),
        num_labels={**num_labels, "state": 2, "keyframe": 1},
    )


def _check_labels(entry: Entry, num_labels: Mapping[str, int]) -> None:
    """Raises for another taxonomy with a clearer message than the layout's."""
    for index, space in enumerate(("verb", "noun")):
        found = entry.tensors.get(f"classifiers.{index}.1.weight")
        if found is not None and found.ndim and len(found) != num_labels[space]:
            raise entry.error(
                f"has {len(found)} {space}s, the taxonomy names {num_labels[space]}: "
                "take the taxonomy it was trained with"
            )


def _first_stage(checkpoint: Checkpoint, sizes: Sizes, backbone: Tensors) -> CheckpointPart:
    """A multi-task (or single-task) model: every trained head is a skill without perspectives."""
    skills, notes = {}, []
    for task, name in PARTS.items():
        if name not in checkpoint.entries:
            continue
        entry = checkpoint.entries[name]
        tensors = translate(entry, head_layout(task, (), sizes))
        if _is_untrained(tensors):
            notes.append(f"{name} was never trained, so it is left out")
            continue
        skills[task] = tensors
        backbone |= _as_known(task, tensors)
    if not skills:
        raise CheckpointInvalid(checkpoint.file, "holds no trained head")
    return CheckpointPart(checkpoint, sizes, backbone, list(skills), skills, notes=notes)


def _second_stage(checkpoint: Checkpoint, sizes: Sizes, backbone: Tensors) -> CheckpointPart:
    """A task learnt with a backpack: its skill, and the known tasks' heads beside the backbone."""
    stages = checkpoint.entries[BACKPACK]
    known = sorted({*stages.names_under("embeddings"), *stages.names_under("conv_stages")})
    heads = {t: checkpoint.entries[p] for t, p in PARTS.items() if p in checkpoint.entries}
    if not known or not set(known) <= set(heads):
        raise stages.error(
            f"prototypes of the tasks {known or 'none'}, heads of the tasks {list(heads)}: "
            "each task with prototypes needs its head"
        )
    voters = {task: sorted(entry.names_under("aux_classifiers")) for task, entry in heads.items()}
    novel = [task for task in heads if task not in known and voters[task] == known]
    if len(novel) != 1:
        raise CheckpointInvalid(
            checkpoint.file,
            f"the prototypes are of {known}; expected one other task with auxiliary classifiers "
            f"for just these, the one learnt; found {novel or 'none'} among {list(heads)}",
        )
    task = novel[0]
    tensors = {t: translate(heads[t], head_layout(t, voters[t], sizes)) for t in heads}
    skill, prototypes = tensors[task], {}
    first = stages.tensors.get(f"embeddings.{known[0]}.weight")
    rows = max(1, len(first)) if first is not None and first.ndim else 1
    for name, tensor in translate(stages, interaction_layout(known, rows, sizes)).items():
        if name.startswith("prototypes."):
            prototypes[name.removeprefix("prototypes.")] = tensor
        else:
            skill[name] = tensor
    for other in known:  # their auxiliary classifiers are there and were never trained
        backbone |= _as_known(other, tensors[other])
    return CheckpointPart(checkpoint, sizes, backbone, known, {task: skill}, prototypes)


def _as_known(task: str, tensors: Tensors) -> Tensors:
    """Renames a skill's own head to a known task's head of the multi-task model."""
    places = {"head.": f"heads.{task}.", "classifier.": f"classifiers.{task}."}
    return {
        name.replace(start, place, 1): tensor
        for start, place in places.items()
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def _is_untrained(tensors: Tensors) -> bool:
    """Whether a head's LayerNorm is as it was made: the first step of training moves it."""
    scale, shift = tensors["head.layers.1.weight"], tensors["head.layers.1.bias"]
    return bool((scale == 1).all() and (shift == 0).all())
