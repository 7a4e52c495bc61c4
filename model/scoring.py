"""Logits and labels of a split -> every metric of every task, and the baselines beside them."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from model.answers import output_probabilities, sample_futures
from model.config import ModelConfig
from model.data.annotations import DataRoot, Split
from model.data.samples import (
    Samples,
    Tracks,
    action_samples,
    anticipation_samples,
    change_samples,
    keyframe_samples,
)
from model.metrics import anticipation_errors, calibration_error, keyframe_error_s, top1
from model.skills import SkillSet
from model.stages import collect_logits
from model.tasks import AR, LTA, NUM_HYPOTHESES, OSCC, PNR

Metrics = dict[str, dict[str, float]]
"""Task -> metric -> value."""


def split_samples(data: DataRoot, split: Split, tracks: Tracks) -> dict[str, Samples]:
    """Returns the samples of all four tasks of a split."""
    actions, changes = data.actions(split), data.changes(split)
    return {
        AR.name: action_samples(actions, tracks),
        LTA.name: anticipation_samples(actions, tracks),
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
    """Returns every metric of the skills on a split.

    Args:
        skills: what is measured.
        samples: task -> samples of the split.
        config: of the model.
        temperature: "task.output" -> temperature.
        seed: of the sampled futures; sample i draws with seed + i.
    """
    logits, labels = collect_logits(skills.task_models(), samples, config)
    probability = {
        task: {
            name: torch.stack(
                [output_probabilities(v, temperature.get(f"{task}.{name}", 1.0)) for v in values]
            )
            for name, values in outputs.items()
        }
        for task, outputs in logits.items()
    }
    ar, oscc = probability[AR.name], probability[OSCC.name]["state"][:, 0]
    verb, noun = labels[AR.name]["verb"][:, 0], labels[AR.name]["noun"][:, 0]
    state = labels[OSCC.name]["state"][:, 0]
    node = logits[PNR.name]["keyframe"][:, :, 0].argmax(dim=1)
    futures = _futures(probability[LTA.name], config, seed)
    return {
        AR.name: {
            "verb_top1": top1(ar["verb"][:, 0], verb),
            "noun_top1": top1(ar["noun"][:, 0], noun),
            "verb_ece": calibration_error(ar["verb"][:, 0], verb),
            "noun_ece": calibration_error(ar["noun"][:, 0], noun),
            "samples": float(len(verb)),
        },
        OSCC.name: {
            "accuracy": top1(oscc, state),
            "ece": calibration_error(oscc, state),
            "samples": float(len(state)),
        },
        PNR.name: {"error_s": _keyframe(samples[PNR.name], node), "samples": float(len(node))},
        LTA.name: _anticipation(futures, labels[LTA.name]),
    }


def baselines(train: Mapping[str, Samples], split: Mapping[str, Samples]) -> dict[str, Metrics]:
    """Returns what answering without looking scores: chance, and the training frequencies.

    "frequency" answers the most frequent class (AR, OSCC), the mean training position (PNR), and
    for LTA whichever is better of the most frequent class 20 times and five futures drawn from
    the training frequencies.
    """
    truth = {name: split[AR.name].labels[name][:, 0] for name in ("verb", "noun")}
    counts = {
        name: train[AR.name].labels[name][:, 0].bincount(minlength=int(truth[name].max()) + 1)
        for name in truth
    }
    state, seen = split[OSCC.name].labels["state"][:, 0], train[OSCC.name].labels["state"][:, 0]
    position = float(_positions(train[PNR.name]).mean())
    spread = PNR.num_nodes * torch.full((len(split[PNR.name]),), position)
    middle = torch.full((len(split[PNR.name]),), PNR.num_nodes / 2)
    return {
        "chance": {
            AR.name: {f"{n}_top1": 1 / int((c > 0).sum()) for n, c in counts.items()},
            OSCC.name: {"accuracy": 0.5},
            PNR.name: {"error_s": _keyframe(split[PNR.name], middle)},
            LTA.name: _constant_futures(counts, split[LTA.name], uniform=True),
        },
        "frequency": {
            AR.name: {
                f"{n}_top1": float((truth[n] == c.argmax()).double().mean())
                for n, c in counts.items()
            },
            OSCC.name: {"accuracy": float((state == seen.mode().values).double().mean())},
            PNR.name: {"error_s": _keyframe(split[PNR.name], spread)},
            LTA.name: _constant_futures(counts, split[LTA.name], uniform=False),
        },
    }


def _futures(
    probability: Mapping[str, Tensor], config: ModelConfig, seed: int
) -> dict[str, Tensor]:
    """Sampled hypotheses, output -> (M, K, Z)."""
    drawn = [
        sample_futures(
            {name: p[i] for name, p in probability.items()},
            seed=seed + i,
            greedy_first=config.greedy_first,
        )
        for i in range(len(probability["verb"]))
    ]
    return {name: torch.stack([d[name] for d in drawn]) for name in probability}


def _anticipation(futures: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, float]:
    errors = anticipation_errors(futures["verb"], futures["noun"], labels["verb"], labels["noun"])
    means = {name: float(values.mean()) for name, values in errors.items()}
    return {**means, "samples": float(len(labels["verb"]))}


def _constant_futures(
    counts: Mapping[str, Tensor], lta: Samples, *, uniform: bool
) -> dict[str, float]:
    """Edit distances of futures that ignore the video; the better of two ways per metric."""
    num, steps = len(lta), LTA.num_future
    generator = torch.Generator().manual_seed(0)
    drawn, best = {}, {}
    for name, count in counts.items():
        weight = (count > 0).double() if uniform else count.double()
        picks = torch.multinomial(
            weight, num * NUM_HYPOTHESES * steps, replacement=True, generator=generator
        )
        drawn[name] = picks.view(num, NUM_HYPOTHESES, steps)
        best[name] = count.argmax().expand(num, NUM_HYPOTHESES, steps)
    sampled = _anticipation(drawn, lta.labels)
    if uniform:
        return sampled
    constant = _anticipation(best, lta.labels)
    return {name: min(value, constant[name]) for name, value in sampled.items()}


def _positions(pnr: Samples) -> Tensor:
    assert pnr.pnr_frame is not None
    start, end = pnr.segments[:, 0].double().unbind(-1)
    return (pnr.pnr_frame - start) / (end - start)


def _keyframe(pnr: Samples, node: Tensor) -> float:
    assert pnr.pnr_frame is not None
    assert pnr.seconds is not None
    start, end = pnr.segments[:, 0].double().unbind(-1)
    error = keyframe_error_s(
        node.double().numpy(),
        num_nodes=PNR.num_nodes,
        start_frame=start.numpy(),
        end_frame=end.numpy(),
        pnr_frame=pnr.pnr_frame.numpy(),
        start_s=pnr.seconds[:, 0].numpy(),
        end_s=pnr.seconds[:, 1].numpy(),
    )
    return float(np.mean(error))
