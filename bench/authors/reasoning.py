"""Reasoning benchmark: graphs to logits of all tasks, and the interaction, against the authors'.

Both have the same weights; before timing, outputs are compared task by task, with the norm over the
batch in both. Ours is then timed as served: a norm per node, one pass.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch

from bench.authors.data import graph
from bench.authors.model import AuthorsEgoPack, AuthorsInteraction
from bench.duel import Call, duel, times_faster
from model.config import ModelConfig
from model.nn.backpack import Backpack
from model.nn.multitask import MultiTaskModel
from model.nn.pooling import select_nodes
from model.nn.skill import Skill
from model.nn.skill_set import Backbone, SkillSet
from model.tasks import TASKS, Readout, TaskSpec
from model.train.presets import AUTHORS

NUM_LABELS = {"verb": 115, "noun": 478, "state": 2, "keyframe": 1}
"""Ego4D v1's."""

TOLERANCE = 1e-4
GOAL = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument("--hidden-size", type=int, default=1024, help="default: %(default)s")
    parser.add_argument("--input-size", type=int, default=1536, help="default: %(default)s")
    parser.add_argument("--prototypes", type=int, default=4000, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=16, help="graphs a task")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of both; default: %(default)s")


@dataclass(frozen=True, eq=False)
class Contenders:
    """The same weights in both formulations.

    Attributes:
        ours: per-node norm, all tasks in one pass.
        checked: the same with the norm over the batch.
        theirs: task -> its model.
        backpack: prototypes of every task.
    """

    ours: SkillSet
    checked: SkillSet
    theirs: dict[str, AuthorsEgoPack]
    backpack: Backpack


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the numbers, then measures.

    Raises:
        ArithmeticError: the two formulations disagree.
    """
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    config = replace(
        AUTHORS.model, input_size=arguments.input_size, hidden_size=arguments.hidden_size
    )
    both = make_contenders(config, arguments.prototypes)
    inputs = make_inputs(config, arguments.batch_size)
    batches = {task: as_batch(TASKS[task], x, config) for task, x in inputs.items()}
    difference = max(compare(both, inputs, batches, trimmed=trimmed) for trimmed in (False, True))
    before = _passes(both)
    _reason(both, inputs)
    _reason_as_authors(both, batches)
    passes = {name: count - before[name] for name, count in _passes(both).items()}
    return {
        "sizes": {
            "hidden": config.hidden_size,
            "input": config.input_size,
            "prototypes": arguments.prototypes,
            "graphs_per_task": arguments.batch_size,
            "interaction_layers": config.interaction_layers,
            "neighbours": config.num_neighbours,
        },
        "threads": arguments.threads,
        "greatest_difference": float(f"{difference:.2g}"),
        "backbone_passes": passes,
        "rows": _rows(both, inputs, batches, arguments),
        "gpu": "not measured",
    }


def _rows(
    both: Contenders,
    inputs: Mapping[str, Tensor],
    batches: Mapping[str, Batch],
    arguments: argparse.Namespace,
) -> dict[str, dict[str, Any]]:
    every = {
        task: torch.randn(arguments.batch_size * spec.num_nodes, arguments.hidden_size)
        for task, spec in TASKS.items()
    }
    answers = {task: select_nodes(TASKS[task], x).flatten(0, 1) for task, x in every.items()}
    ways: dict[str, tuple[Call, Call]] = {
        "reasoning": (partial(_reason, both, inputs), partial(_reason_as_authors, both, batches)),
        "interaction alone": (
            partial(_interact, both, answers),
            partial(_interact_as_authors, both, every),
        ),
        "interaction, the same nodes": (
            partial(_interact, both, every),
            partial(_interact_as_authors, both, every),
        ),
    }
    return {
        name: _row(name, both, ours, theirs, arguments) for name, (ours, theirs) in ways.items()
    }


def _row(
    name: str, both: Contenders, ours: Call, theirs: Call, arguments: argparse.Namespace
) -> dict[str, Any]:
    def full() -> None:
        _trim(both, False)
        theirs()

    def trimmed() -> None:
        _trim(both, True)
        theirs()

    slow = {"authors": full, "authors, trimmed": trimmed}
    times = duel({"ours": ours, **slow}, rounds=arguments.rounds, label=name)
    ratio = {way: times_faster(times, "ours", way, threads=arguments.threads) for way in slow}
    return {"times": times, "ratio": ratio, "goal": GOAL}


def _reason(both: Contenders, inputs: Mapping[str, Tensor]) -> None:
    for votes in both.ours(inputs).values():
        votes.fused()


def _reason_as_authors(both: Contenders, batches: Mapping[str, Batch]) -> None:
    for task, batch in batches.items():
        both.theirs[task](batch, both.backpack.prototypes)


def _interact(both: Contenders, queries: Mapping[str, Tensor]) -> None:
    pack = both.backpack
    for task, skill in both.ours.skills.items():
        assert isinstance(skill, Skill)
        for known, interaction in skill.interactions.items():
            interaction(queries[task], pack.prototypes[known], pack.index(known))


def _interact_as_authors(both: Contenders, queries: Mapping[str, Tensor]) -> None:
    for task, model in both.theirs.items():
        for known, interaction in model.interactions.items():
            interaction(queries[task], both.backpack.prototypes[known])


def _trim(both: Contenders, trimmed: bool) -> None:
    for model in both.theirs.values():
        for interaction in model.interactions.values():
            assert isinstance(interaction, AuthorsInteraction)
            interaction.trimmed = trimmed


def _passes(both: Contenders) -> dict[str, int]:
    theirs = sum(model.backbone.passes for model in both.theirs.values())
    return {"ours": both.ours.backbone_passes, "authors": theirs}


def make_contenders(config: ModelConfig, num_prototypes: int) -> Contenders:
    """Returns random models with the same weights."""
    specs = list(TASKS.values())
    model = MultiTaskModel(config, specs, NUM_LABELS).eval()
    per_node = MultiTaskModel(replace(config, norm="node"), specs, NUM_LABELS).eval()
    per_node.load_state_dict(model.state_dict())
    pairs = torch.arange(num_prototypes)
    backpack = Backpack(
        {task: torch.randn(num_prototypes, config.hidden_size) for task in TASKS},
        {"verb": pairs // NUM_LABELS["noun"], "noun": pairs % NUM_LABELS["noun"]},
        count=torch.ones_like(pairs),
        search="torch",  # as in the baseline: a matrix product and a top-k
    )
    skills, theirs = {}, {}
    for task, spec in TASKS.items():
        known = [other for other in TASKS if other != task]
        skills[task] = (Skill(config, spec, known, NUM_LABELS).eval(), "shared")
        theirs[task] = AuthorsEgoPack(config, spec, known, NUM_LABELS).eval()
        theirs[task].copy_weights(skills[task][0], model)
    return Contenders(
        SkillSet({"shared": Backbone(per_node, backpack)}, skills),
        SkillSet({"shared": Backbone(model, backpack)}, skills),
        theirs,
        backpack,
    )


def make_inputs(config: ModelConfig, graphs: int) -> dict[str, Tensor]:
    """Returns random observed nodes, task -> (G, n, S, D_in); PNR's are one vector, repeated."""
    inputs = {}
    for task, spec in TASKS.items():
        nodes = spec.num_segments if spec.num_segments > 1 else spec.num_nodes
        inputs[task] = torch.randn(graphs, nodes, config.vectors_per_node, config.input_size)
    inputs["pnr"] = inputs["pnr"][:, :, :1]
    return inputs


def as_batch(spec: TaskSpec, observed: Tensor, config: ModelConfig) -> Batch:
    """Returns the same graphs as objects, collated."""
    x = observed.expand(-1, -1, config.vectors_per_node, -1)
    if spec.num_future:
        future = x.mean(dim=1, keepdim=True).expand(-1, spec.num_future, -1, -1)
        x = torch.cat([x, future], dim=1)
    return Batch.from_data_list([graph(spec, nodes.clone(), {}, config) for nodes in x])


def compare(
    both: Contenders, inputs: Mapping[str, Tensor], batches: Mapping[str, Batch], *, trimmed: bool
) -> float:
    """Returns the greatest difference between the logits of the two, relative to the greatest.

    Raises:
        ArithmeticError: it is not small.
    """
    _trim(both, trimmed)
    greatest = 0.0
    for task, spec in TASKS.items():
        ours = both.checked({task: inputs[task]})[task].fused()
        theirs = both.theirs[task](batches[task], both.backpack.prototypes)
        for name, logits in ours.items():
            found = theirs[name].unsqueeze(1)
            if spec.readout is not Readout.GRAPH:
                found = select_nodes(spec, theirs[name])
            difference = (found - logits).abs().max() / logits.abs().max()
            greatest = max(greatest, difference.item())
    if not greatest <= TOLERANCE:
        raise ArithmeticError(f"expected the same logits, they differ by {greatest:.1e}")
    return greatest


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    by = "cpu_ms" if figures["threads"] == 1 else "wall_ms"
    lines = [f"{'medians, ms':<30}{'ours':>9}{'authors':>18}{'trimmed':>18}{'goal':>8}"]
    for name, row in figures["rows"].items():
        cells = [
            f"{row['times'][way][by]:>9.1f} ({row['ratio'][way]:>4.1f} x)"
            for way in ("authors", "authors, trimmed")
        ]
        ours = f"{row['times']['ours'][by]:>9.1f}"
        lines.append(f"{name:<30}{ours}{''.join(cells)}   >= {row['goal']:.0f}")
    passes = figures["backbone_passes"]
    lines += [
        f"backbone passes: {passes['ours']} ours, {passes['authors']} authors'",
        f"greatest difference of logits, same norm: {figures['greatest_difference']:.1e}",
        "trimmed: one top-k a look-up, no norm and Linear over prototypes; GPU: not measured",
    ]
    return "\n".join(lines)
