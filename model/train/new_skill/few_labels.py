"""Learning from few labels: rows of every voter from samples, then a panel and a served skill."""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.data.samples import Samples
from model.evaluate.calibration import EVALUATION_BATCH
from model.nn.few_labels.examples import MOST_EXAMPLES
from model.nn.few_labels.panel import Panel, fit_panel, usable_voters
from model.nn.few_labels.rows import Rows, read_rows
from model.nn.few_labels.skill import FewLabelSkill
from model.nn.few_labels.voters import EXAMPLES, OWN, VOTERS
from model.nn.pooling import select_nodes
from model.nn.skill_set import Backbone
from model.tasks import Readout, TaskSpec

READOUTS = (Readout.CENTRE, Readout.GRAPH)
"""Of the tasks that voters of few labels can answer: one label a graph."""


def rows_of(backbone: Backbone, samples: Samples) -> Rows:
    """Returns every sample's row, float64, with the vectors of evaluation."""
    config = backbone.model.config
    parts = torch.arange(len(samples)).split(EVALUATION_BATCH)
    return Rows.join(
        [read_inputs(backbone, samples.spec, samples.draw(which, config).inputs) for which in parts]
    )


@torch.inference_mode()
def read_inputs(backbone: Backbone, spec: TaskSpec, inputs: Tensor) -> Rows:
    """Returns the rows of a task's graphs, float64.

    Args:
        backbone: with or without a backpack.
        spec: of the task.
        inputs: (G, n, S, D_in) observed nodes.
    """
    model = backbone.model
    features = model.features({spec.name: inputs}, specs={spec.name: spec})[spec.name]
    nodes = select_nodes(spec, features)
    views = {} if backbone.backpack is None else dict(model.heads.items())
    seen = {task: head(nodes) for task, head in views.items()}
    return read_rows(spec, nodes, seen, backbone.backpack).map(Tensor.double)


def classes_of(samples: Samples) -> Tensor:
    """Returns the label ids of samples that have one each, (M,)."""
    return samples.labels[samples.spec.outputs[0]][:, 0]


def videos_of(samples: Samples) -> list[str]:
    """Returns each sample's video."""
    return [name.rpartition(":")[0] for name in samples.names]


def learn_panel(
    backbone: Backbone, samples: Samples, rows: Rows, num_labels: int, *, seed: int
) -> Panel:
    """Fits all voters that the backbone's backpack and the number of samples allow."""
    perspectives = () if backbone.backpack is None else tuple(backbone.model.heads)
    names = usable_voters(backbone.backpack, len(samples), MOST_EXAMPLES)
    if backbone.model.config.prototypes == "divided":  # not means, so not to be averaged with
        names = [name for name in names if VOTERS[name].fit != "calibrated"]
    return fit_panel(
        names,
        rows,
        classes_of(samples),
        num_labels,
        videos_of(samples),
        backbone.backpack,
        perspectives,
        seed=seed,
    )


def served(panel: Panel, weights: Mapping[str, float], spec: TaskSpec, k: int) -> FewLabelSkill:
    """Returns a panel as a skill: the voters that count, and the examples as evidence."""
    fitted = {
        name: {part: tensor.float().contiguous() for part, tensor in parts.items()}
        for name, parts in panel.fitted.items()
        if name in weights or name == EXAMPLES
    }
    perspectives = panel.perspectives if set(fitted) != {OWN} else ()
    return FewLabelSkill(spec, perspectives, weights, fitted, k).eval()
