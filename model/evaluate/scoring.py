"""Scores of a split: every metric of every task, from logits and labels.

Unlabelled samples (IGNORE) are left out of every metric.
"""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from model.config import ModelConfig
from model.data.samples import Samples
from model.evaluate.calibration import collect_logits
from model.evaluate.metrics import (
    KeyframeRate,
    Values,
    anticipation_errors,
    calibration_error,
    class_mean,
    hits,
    keyframe_error_s,
    means,
)
from model.nn.skill_set import SkillSet
from model.predict.answers import output_probabilities
from model.predict.futures import keep_futures, sample_split
from model.tasks import IGNORE, Readout, TaskSpec

Metrics = dict[str, dict[str, float]]
"""Task -> metric -> value."""

Outputs = Mapping[str, Mapping[str, Tensor]]
"""Task -> output -> tensor."""

PerSample = dict[str, dict[str, Values]]
"""Task -> metric -> (M,); NaN where a sample has no label."""

ONE_CLASS = (Readout.CENTRE, Readout.GRAPH)
"""Readouts with one class per sample."""

TOP = 5
"""k of the second top-k accuracy."""


def score_split(
    skills: SkillSet,
    samples: Mapping[str, Samples],
    config: ModelConfig,
    temperature: Mapping[str, float],
    *,
    seed: int = 0,
) -> Metrics:
    """Returns every metric of the skills on a split; arguments are those of `score_logits`."""
    logits, labels = collect_logits(skills.task_models(), samples, config)
    return score_logits(logits, labels, samples, config, temperature, seed=seed)


def score_logits(
    logits: Outputs,
    labels: Outputs,
    samples: Mapping[str, Samples],
    config: ModelConfig,
    temperature: Mapping[str, float],
    *,
    seed: int = 0,
    drawn: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> Metrics:
    """Returns every metric of the tasks in `logits`: means over samples, calibration errors.

    Args:
        logits: task -> output -> summed logits, (M, m, Y).
        labels: task -> output -> (M, m).
        samples: task -> samples of the split, in the same order.
        config: of the model.
        temperature: "task.output" -> temperature.
        seed: of the sampled futures.
        drawn: task -> output -> (M, N, Z) futures drawn elsewhere, in place of draws from logits.
    """
    values = per_sample(logits, labels, samples, config, seed=seed, drawn=drawn)
    return summarise(values, logits, labels, samples, temperature)


def summarise(
    values: PerSample,
    logits: Outputs,
    labels: Outputs,
    samples: Mapping[str, Samples],
    temperature: Mapping[str, float],
) -> Metrics:
    """Returns the means of per-sample values, and the metrics of a whole split.

    Arguments are those of `score_logits`, after what `per_sample` made of them.
    """
    result = {}
    for task, outputs in logits.items():
        spec = samples[task].spec
        whole: dict[str, float] = {}
        if spec.readout in ONE_CLASS:
            whole = _class_metrics(spec, outputs, labels[task], temperature)
        result[task] = {**means(values[task]), **whole, "samples": float(len(samples[task]))}
    return result


def per_sample(
    logits: Outputs,
    labels: Outputs,
    samples: Mapping[str, Samples],
    config: ModelConfig,
    *,
    seed: int = 0,
    drawn: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> PerSample:
    """Returns the metrics sample by sample, whose mean is the metric.

    The metrics follow from a task's readout, also for a user-defined task: top-k accuracy for one
    class per sample, edit distances for future nodes, and the keyframe's error in seconds for one
    label per node. Arguments are those of `score_logits`.

    Raises:
        ValueError: every label of an output is hidden.
    """
    result = {}
    for task, outputs in logits.items():
        spec = samples[task].spec
        hidden = [name for name, values in labels[task].items() if bool((values == IGNORE).all())]
        if hidden:
            raise ValueError(
                f"{task}: only samples with labels can be scored, those of {hidden[0]} are hidden"
            )
        if spec.readout is Readout.FUTURE:
            names = samples[task].names
            if drawn and task in drawn:
                futures = keep_futures(drawn[task], config)
            else:
                futures = sample_split(outputs, names, config=config, seed=seed)
            result[task] = anticipation_errors(futures, labels[task])
        elif spec.readout is Readout.NODES:
            (score,) = outputs.values()
            node = score[:, :, 0].argmax(dim=1)
            error_s = keyframe_errors(samples[task], node, rate=config.keyframe_rate)
            result[task] = {"error_s": error_s}
        else:
            result[task] = _hits(spec, outputs, labels[task])
    return result


def metric_name(spec: TaskSpec, output: str, metric: str, *, alone: str | None = None) -> str:
    """Returns "verb_top1" where a task has several outputs; `alone` where it has only one."""
    return f"{output}_{metric}" if len(spec.outputs) > 1 else alone or metric


def _hits(
    spec: TaskSpec, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]
) -> dict[str, Values]:
    """Hits of every output, top 5 where there are more classes than that."""
    found = {}
    for output, values in outputs.items():
        scores, truth = values[:, 0], labels[output][:, 0]
        hidden = (truth == IGNORE).numpy()
        for k, metric in ((1, "top1"), (TOP, f"top{TOP}")):
            if k == 1 or k < scores.shape[1]:
                alone = "accuracy" if k == 1 else None
                right = np.where(hidden, np.nan, hits(scores, truth, k=k))
                found[metric_name(spec, output, metric, alone=alone)] = right
    return found


def _class_metrics(
    spec: TaskSpec,
    outputs: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    temperature: Mapping[str, float],
) -> dict[str, float]:
    """Class-mean accuracy and expected calibration error of every output."""
    found = {}
    for name, values in outputs.items():
        known = labels[name][:, 0] != IGNORE
        scores, truth = values[known, 0], labels[name][known, 0]
        probability = output_probabilities(scores, temperature.get(f"{spec.name}.{name}", 1.0))
        found[metric_name(spec, name, "class_mean")] = class_mean(hits(scores, truth), truth)
        found[metric_name(spec, name, "ece")] = calibration_error(probability, truth)
    return found


def keyframe_errors(samples: Samples, node: Tensor, *, rate: KeyframeRate) -> Values:
    """Returns the localisation error of the chosen nodes, (M,), in seconds; NaN where hidden."""
    assert samples.pnr_frame is not None
    assert samples.seconds is not None
    start, end = samples.segments[:, 0].double().unbind(-1)
    return keyframe_error_s(
        node.double().numpy(),
        num_nodes=samples.spec.num_nodes,
        start_frame=start.numpy(),
        end_frame=end.numpy(),
        pnr_frame=samples.pnr_frame.numpy(),
        start_s=samples.seconds[:, 0].numpy(),
        end_s=samples.seconds[:, 1].numpy(),
        rate=rate,
    )
