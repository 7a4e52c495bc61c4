"""From graphs to four tasks' logits, and the interaction alone, beside the authors' formulation.

Both have the same weights; before anything is timed their numbers are compared, task by task,
with the norm over the batch in both. Ours is then timed as it serves: a norm a node, one pass.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch

from bench.authors import AuthorsEgoPack
from bench.authors_data import edges_of, graph
from bench.duel import duel, times_faster
from model.backpack import Backpack
from model.config import ModelConfig
from model.egopack import Skill
from model.interaction import PrototypeInteraction
from model.multitask import MultiTaskModel
from model.pooling import select_nodes
from model.presets import AUTHORS
from model.skills import Backbone, SkillSet
from model.tasks import TASKS, Readout, TaskSpec

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
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
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
    difference = compare(both, inputs, batches)

    def reason_ours() -> object:
        return {task: votes.fused() for task, votes in both.ours(inputs).items()}

    def reason_theirs() -> object:
        return {t: both.theirs[t](b, both.backpack.prototypes) for t, b in batches.items()}

    passes = {"ours": both.ours.backbone_passes, "authors": _passes(both.theirs)}
    reason_ours(), reason_theirs()
    passes["ours"] = both.ours.backbone_passes - passes["ours"]
    passes["authors"] = _passes(both.theirs) - passes["authors"]
    rows = {
        "reasoning": duel(
            {"ours": reason_ours, "authors": reason_theirs},
            rounds=arguments.rounds,
            label="reasoning",
        ),
        **_interactions(both, inputs, arguments),
    }
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
        "rows": {
            name: {**times, "ratio": times_faster(times, "ours", "authors"), "goal": GOAL}
            for name, times in rows.items()
        },
        "gpu": "not measured",
    }


def _passes(models: Mapping[str, AuthorsEgoPack]) -> int:
    return sum(model.backbone.passes for model in models.values())


def make_contenders(config: ModelConfig, num_prototypes: int) -> Contenders:
    """Returns random models with the same weights."""
    specs = list(TASKS.values())
    model = MultiTaskModel(config, specs, NUM_LABELS).eval()
    per_node = MultiTaskModel(replace(config, norm="node"), specs, NUM_LABELS).eval()
    per_node.load_state_dict(model.state_dict())
    pairs = torch.arange(num_prototypes)
    backpack = Backpack(
        {task: torch.randn(num_prototypes, config.hidden_size) for task in TASKS},
        verb_id=pairs // NUM_LABELS["noun"],
        noun_id=pairs % NUM_LABELS["noun"],
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
    edges = edges_of(spec, config)
    return Batch.from_data_list([graph(spec, nodes.clone(), edges, {}) for nodes in x])


def compare(both: Contenders, inputs: Mapping[str, Tensor], batches: Mapping[str, Batch]) -> float:
    """Returns the greatest difference between the logits of the two, relative to the greatest.

    Raises:
        ArithmeticError: it is not small.
    """
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


def _interactions(
    both: Contenders, inputs: Mapping[str, Tensor], arguments: argparse.Namespace
) -> dict[str, dict[str, dict[str, float]]]:
    """Times the interaction alone: on what each formulation refines, and on the same nodes."""
    width = arguments.hidden_size
    nodes = {
        task: torch.randn(arguments.batch_size * s.num_nodes, width) for task, s in TASKS.items()
    }
    answers = {task: select_nodes(TASKS[task], x).flatten(0, 1) for task, x in nodes.items()}

    def ours(queries: Mapping[str, Tensor], *, rematch: bool = False) -> None:
        for task, skill in both.ours.skills.items():
            for known, interaction in skill.interactions.items():
                assert isinstance(interaction, PrototypeInteraction)
                interaction.rematch = rematch
                interaction(
                    queries[task], both.backpack.prototypes[known], both.backpack.index(known)
                )

    def theirs(queries: Mapping[str, Tensor]) -> None:
        for task, model in both.theirs.items():
            for known, interaction in model.interactions.items():
                interaction(queries[task], both.backpack.prototypes[known])

    compared = {
        "interaction, the nodes each refines": (lambda: ours(answers), nodes),
        "interaction, the same nodes": (lambda: ours(nodes), nodes),
        "interaction, looked up again each round": (lambda: ours(answers, rematch=True), nodes),
    }
    return {
        name: duel(
            {"ours": mine, "authors": lambda queries=queries: theirs(queries)},
            rounds=arguments.rounds,
            label=name,
        )
        for name, (mine, queries) in compared.items()
    }


def table(figures: dict[str, Any]) -> str:
    """Returns the figures to read."""
    lines = [f"{'medians, ms':<42}{'ours':>10}{'authors':>10}{'ratio':>8}{'goal >=':>9}"]
    lines += [
        f"{name:<42}{row['ours']['median_ms']:>10.1f}{row['authors']['median_ms']:>10.1f}"
        f"{row['ratio']:>8.1f}{row['goal']:>9.0f}"
        for name, row in figures["rows"].items()
    ]
    passes = figures["backbone_passes"]
    return "\n".join(
        [
            *lines,
            f"backbone passes: {passes['ours']} ours, {passes['authors']} authors'",
            f"greatest difference of logits, same norm: {figures['greatest_difference']:.1e}",
            "GPU: not measured",
        ]
    )
