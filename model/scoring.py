"""Logits and labels of a split -> every metric of every task, and the baselines beside them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.answers import output_probabilities, sample_futures
from model.config import ModelConfig
from model.data.annotations import DataRoot, Split
from model.data.samples import (
    Enumeration,
    Samples,
    Tracks,
    action_samples,
    anticipation_samples,
    change_samples,
    keyframe_samples,
)
from model.metrics import (
    Values,
    anticipation_errors,
    calibration_error,
    class_mean,
    hits,
    keyframe_error_s,
)
from model.skills import SkillSet
from model.stages import collect_logits
from model.tasks import AR, LTA, NUM_HYPOTHESES, OSCC, PNR, Readout, TaskSpec

Metrics = dict[str, dict[str, float]]
"""Task -> metric -> value."""

Outputs = Mapping[str, Mapping[str, Tensor]]
"""Task -> output -> tensor."""

PerSample = dict[str, dict[str, Values]]
"""Task -> metric -> (M,)."""

ONE_CLASS = (Readout.CENTRE, Readout.GRAPH)
"""Readouts that answer one class per sample."""

TOP = 5
"""Of the more forgiving accuracy."""


def split_samples(
    data: DataRoot, split: Split, tracks: Tracks, *, enumeration: Enumeration = "current"
) -> dict[str, Samples]:
    """Returns the samples of all four tasks of a split; `enumeration` says which LTA windows."""
    actions, changes = data.actions(split), data.changes(split)
    return {
        AR.name: action_samples(actions, tracks),
        LTA.name: anticipation_samples(actions, tracks, enumeration=enumeration),
        OSCC.name: change_samples(changes, tracks),
        PNR.name: keyframe_samples(changes, tracks),
    }


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
) -> Metrics:
    """Returns every metric of the tasks in `logits`: means over samples, calibration errors.

    Args:
        logits: task -> output -> summed logits, (M, m, Y).
        labels: task -> output -> (M, m).
        samples: task -> samples of the split, in the same order.
        config: of the model.
        temperature: "task.output" -> temperature.
        seed: of the sampled futures; sample i draws with seed + i.
    """
    values = per_sample(logits, labels, samples, config, temperature, seed=seed)
    return summarise(values, logits, labels, samples, temperature)


def summarise(
    values: PerSample,
    logits: Outputs,
    labels: Outputs,
    samples: Mapping[str, Samples],
    temperature: Mapping[str, float],
) -> Metrics:
    """Returns the means of per-sample values and what only a whole split has.

    Arguments are those of `score_logits`, after what `per_sample` made of them.
    """
    result = {}
    for task, outputs in logits.items():
        spec = samples[task].spec
        means = {name: float(v.mean()) for name, v in values[task].items()}
        whole: dict[str, float] = {}
        if spec.readout in ONE_CLASS:
            whole = _class_metrics(spec, outputs, labels[task], temperature)
        result[task] = {**means, **whole, "samples": float(len(samples[task]))}
    return result


def per_sample(
    logits: Outputs,
    labels: Outputs,
    samples: Mapping[str, Samples],
    config: ModelConfig,
    temperature: Mapping[str, float],
    *,
    seed: int = 0,
) -> PerSample:
    """Returns the metrics sample by sample, whose mean is the metric.

    What is measured follows from a task's readout, so a task that a user adds needs no line here:
    one class per sample gives hits, future nodes give edit distances, one label per node gives
    the keyframe's error in seconds. Arguments are those of `score_logits`.

    Raises:
        ValueError: a label is hidden.
    """
    result = {}
    for task, outputs in logits.items():
        spec = samples[task].spec
        if any(bool((values < 0).any()) for values in labels[task].values()):
            raise ValueError(f"{task}: only samples with labels can be scored, some are hidden")
        if spec.readout is Readout.FUTURE:
            probability = _probabilities(spec, outputs, temperature)
            futures = sampled_futures(probability, greedy_first=config.greedy_first, seed=seed)
            result[task] = anticipation_errors(futures, labels[task])
        elif spec.readout is Readout.NODES:
            (score,) = outputs.values()
            result[task] = {"error_s": _keyframe(samples[task], score[:, :, 0].argmax(dim=1))}
        else:
            result[task] = _hits(spec, outputs, labels[task])
    return result


def metric_name(spec: TaskSpec, output: str, metric: str, *, alone: str | None = None) -> str:
    """Returns "verb_top1" where a task has several outputs; `alone` where it has only one."""
    return f"{output}_{metric}" if len(spec.outputs) > 1 else alone or metric


def baselines(train: Mapping[str, Samples], split: Mapping[str, Samples]) -> dict[str, Metrics]:
    """Returns what answering without looking scores: chance, and the training frequencies.

    "frequency" answers the most frequent class (AR, OSCC), the mean training position (PNR), and
    for LTA the better of the most frequent class 20 times and five futures drawn by frequency.
    """
    ways = {"chance": True, "frequency": False}
    return {
        name: {task: _unseen(s, train[task], train, uniform=flat) for task, s in split.items()}
        for name, flat in ways.items()
    }


def _unseen(
    split: Samples, seen: Samples, train: Mapping[str, Samples], *, uniform: bool
) -> dict[str, float]:
    """Scores of an answer that ignores the video."""
    spec = split.spec
    if spec.readout is Readout.NODES:
        place = 0.5 if uniform else float(_positions(seen).mean())
        node = spec.num_nodes * torch.full((len(split),), place)
        return {"error_s": float(_keyframe(split, node).mean())}
    if spec.readout is Readout.FUTURE:
        # Overlapping windows would count an action up to 20 times: prefer the actions themselves.
        actions = [s for s in train.values() if s.spec.readout is Readout.CENTRE]
        whole = [s for s in actions if set(spec.outputs) <= set(s.spec.outputs)]
        return _constant_futures(_label_counts(whole[0] if whole else seen), split, uniform=uniform)
    scores = {}
    for output, count in _label_counts(seen).items():
        truth, num_seen = split.labels[output][:, 0], int((count > 0).sum())
        num_there = len(truth.unique())
        for k, metric in ((1, "top1"), (TOP, f"top{TOP}")):
            if k < len(count):
                same = count.expand(len(truth), -1)
                share = min(k / num_seen, 1.0) if uniform else float(hits(same, truth, k=k).mean())
                alone = "accuracy" if k == 1 else None
                scores[metric_name(spec, output, metric, alone=alone)] = share
        scores[metric_name(spec, output, "class_mean")] = 1 / (num_seen if uniform else num_there)
    return scores


def _label_counts(samples: Samples) -> dict[str, Tensor]:
    """How often each class is seen, output -> (Y,)."""
    return {name: samples.labels[name].flatten().bincount() for name in samples.spec.outputs}


def sampled_futures(
    probability: Mapping[str, Tensor], *, greedy_first: bool, seed: int
) -> dict[str, Tensor]:
    """Returns sampled hypotheses, output -> (M, K, Z), of probabilities (M, Z, Y)."""
    num = len(next(iter(probability.values())))
    drawn = []
    for i in range(num):
        mine = {name: p[i] for name, p in probability.items()}
        drawn.append(sample_futures(mine, seed=seed + i, greedy_first=greedy_first))
    return {name: torch.stack([d[name] for d in drawn]) for name in probability}


def _probabilities(
    spec: TaskSpec, outputs: Mapping[str, Tensor], temperature: Mapping[str, float]
) -> dict[str, Tensor]:
    """Calibrated probabilities, output -> (M, m, Y)."""
    return {
        name: torch.stack(
            [output_probabilities(v, temperature.get(f"{spec.name}.{name}", 1.0)) for v in values]
        )
        for name, values in outputs.items()
    }


def _hits(
    spec: TaskSpec, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]
) -> dict[str, Values]:
    """Hits of every output, top 5 where there are more classes than that."""
    found = {}
    for output, values in outputs.items():
        scores, truth = values[:, 0], labels[output][:, 0]
        found[metric_name(spec, output, "top1", alone="accuracy")] = hits(scores, truth)
        if scores.shape[1] > TOP:
            found[metric_name(spec, output, f"top{TOP}")] = hits(scores, truth, k=TOP)
    return found


def _class_metrics(
    spec: TaskSpec,
    outputs: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    temperature: Mapping[str, float],
) -> dict[str, float]:
    """Class-mean accuracy and expected calibration error of every output."""
    found = {}
    for name, probability in _probabilities(spec, outputs, temperature).items():
        truth = labels[name][:, 0]
        right = hits(outputs[name][:, 0], truth)
        found[metric_name(spec, name, "class_mean")] = class_mean(right, truth)
        found[metric_name(spec, name, "ece")] = calibration_error(probability[:, 0], truth)
    return found


def _constant_futures(
    counts: Mapping[str, Tensor], split: Samples, *, uniform: bool
) -> dict[str, float]:
    """Edit distances of futures that ignore the video; the better of two ways per metric."""
    num, steps = len(split), split.spec.num_future
    generator = torch.Generator().manual_seed(0)
    drawn, best = {}, {}
    for name in split.spec.outputs:
        count = counts[name]
        weight = (count > 0).double() if uniform else count.double()
        picks = torch.multinomial(
            weight, num * NUM_HYPOTHESES * steps, replacement=True, generator=generator
        )
        drawn[name] = picks.view(num, NUM_HYPOTHESES, steps)
        best[name] = count.argmax().expand(num, NUM_HYPOTHESES, steps)
    ways = [drawn] if uniform else [drawn, best]
    errors = [anticipation_errors(futures, split.labels) for futures in ways]
    means = {name: min(float(e[name].mean()) for e in errors) for name in errors[0]}
    return {**means, "samples": float(num)}


def _positions(samples: Samples) -> Tensor:
    """Where in its segment each keyframe lies, (M,), in [0, 1]."""
    assert samples.pnr_frame is not None
    start, end = samples.segments[:, 0].double().unbind(-1)
    return (samples.pnr_frame - start) / (end - start)


def _keyframe(samples: Samples, node: Tensor) -> Values:
    """Localisation error of the chosen nodes, (M,), in seconds."""
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
    )
