"""Blind baselines: chance and training frequencies, without any feature."""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.data.samples import Samples
from model.evaluate.metrics import KeyframeRate, anticipation_errors, hits, mean, means
from model.evaluate.scoring import TOP, Metrics, keyframe_errors, metric_name
from model.tasks import IGNORE, NUM_HYPOTHESES, Readout


def baselines(
    train: Mapping[str, Samples],
    split: Mapping[str, Samples],
    *,
    keyframe_rate: KeyframeRate = "segment",
) -> dict[str, Metrics]:
    """Returns the figures of the blind baselines "chance" and "frequency".

    "frequency" answers the most frequent class (AR, OSCC), the mean training position (PNR), and
    for LTA the better of the most frequent class 20 times and five futures drawn by frequency.
    A task without training labels has neither.
    """
    seen = {task: _source(samples, train) for task, samples in split.items()}
    labelled = [task for task, samples in seen.items() if not samples.hidden]
    baselines = {"chance": True, "frequency": False}
    return {
        name: {task: _unseen(split[task], seen[task], flat, keyframe_rate) for task in labelled}
        for name, flat in baselines.items()
    }


def _source(split: Samples, train: Mapping[str, Samples]) -> Samples:
    """The training samples that give a task's label frequencies."""
    spec = split.spec
    if spec.readout is Readout.FUTURE:
        # Overlapping windows would count an action up to 20 times: prefer the actions themselves.
        for samples in train.values():
            other = samples.spec
            if other.readout is Readout.CENTRE and set(spec.outputs) <= set(other.outputs):
                return samples
    return train[spec.name]


def _unseen(split: Samples, seen: Samples, uniform: bool, rate: KeyframeRate) -> dict[str, float]:
    """Scores of one blind baseline."""
    spec = split.spec
    if spec.readout is Readout.NODES:
        place = 0.5 if uniform else float(_positions(seen).nanmean())
        node = spec.num_nodes * torch.full((len(split),), place)
        return {"error_s": mean(keyframe_errors(split, node, rate=rate))}
    counts = _label_counts(seen)
    if spec.readout is Readout.FUTURE:
        return _constant_futures(counts, split, uniform=uniform)
    scores = {}
    for output, count in counts.items():
        truth, num_seen = split.labels[output][:, 0], int((count > 0).sum())
        truth = truth[truth != IGNORE]
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
    """Training count of each class, output -> (Y,)."""
    labels = {name: samples.labels[name].flatten() for name in samples.spec.outputs}
    return {name: values[values != IGNORE].bincount() for name, values in labels.items()}


def _constant_futures(
    counts: Mapping[str, Tensor], split: Samples, *, uniform: bool
) -> dict[str, float]:
    """Edit distances of blind futures; the better of two kinds per metric."""
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
    kinds = [drawn] if uniform else [drawn, best]
    found = [means(anticipation_errors(futures, split.labels)) for futures in kinds]
    return {**{name: min(m[name] for m in found) for name in found[0]}, "samples": float(num)}


def _positions(samples: Samples) -> Tensor:
    """Relative position of each keyframe in its segment, (M,), in [0, 1]; NaN where hidden."""
    assert samples.pnr_frame is not None
    start, end = samples.segments[:, 0].double().unbind(-1)
    return (samples.pnr_frame - start) / (end - start)
