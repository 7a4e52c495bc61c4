"""Scores of a user-defined task on one split, and of an answer that sees no input."""

from torch import Tensor

from model.data.samples import Samples
from model.evaluate.calibration import collect_logits
from model.evaluate.metrics import calibration_error, class_mean
from model.predict.answers import output_probabilities
from model.tasks import Readout
from model.train.methods.stages import SkillOnBackbone

Scores = dict[str, float]
"""Metric -> value."""


def score(learner: SkillOnBackbone, samples: Samples, *, temperature: float) -> Scores:
    """Returns the metrics of a task's kind on one split.

    Classification: `top1`, `class_mean` (recall averaged over classes) and `ece`; forecasts: the
    same over all future steps, and `first_top1`; localisation: `error_s`.
    """
    spec, config = samples.spec, learner.backbone.model.config
    logits, labels = collect_logits({spec.name: learner}, {spec.name: samples}, config)
    values, truth = logits[spec.name][spec.outputs[0]], labels[spec.name][spec.outputs[0]]
    if spec.readout is Readout.NODES:
        node = values[:, :, 0].argmax(dim=1).double() / spec.num_nodes
        return {"error_s": _error_s(samples, node), "samples": float(len(samples))}
    best = values.argmax(dim=2)
    probability = output_probabilities(values.flatten(0, 1), temperature)
    return {
        **_shares(best, truth),
        "ece": calibration_error(probability, truth.flatten()),
        "samples": float(len(samples)),
    }


def score_frequency(train: Samples, split: Samples) -> Scores:
    """Returns the scores of the most frequent training label, or the mean training instant."""
    spec = train.spec
    if spec.readout is Readout.NODES:
        mean = _positions(train).mean()
        return {"error_s": _error_s(split, mean.expand(len(split)))}
    seen, truth = train.labels[spec.outputs[0]], split.labels[spec.outputs[0]]
    return _shares(seen.flatten().mode().values.expand(truth.shape), truth)


def _shares(best: Tensor, truth: Tensor) -> Scores:
    """Accuracies of (M, m) label ids."""
    right = (best == truth).double()
    recall = class_mean(right.flatten().numpy(), truth.flatten())
    shares = {"top1": float(right.mean()), "class_mean": recall}
    return shares if truth.shape[1] == 1 else {**shares, "first_top1": float(right[:, 0].mean())}


def _positions(samples: Samples) -> Tensor:
    """Where in its segment each instant lies, (M,) in [0, 1)."""
    assert samples.pnr_frame is not None
    start, end = samples.segments[:, 0].double().unbind(-1)
    return (samples.pnr_frame - start) / (end - start)


def _error_s(samples: Samples, position: Tensor) -> float:
    """Mean distance in seconds of predicted positions, (M,) in [0, 1), from the truth."""
    assert samples.seconds is not None
    length_s = samples.seconds[:, 1] - samples.seconds[:, 0]
    return float(((position - _positions(samples)).abs() * length_s).mean())
