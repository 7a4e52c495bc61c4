"""Samples of which some lose their labels, and figures of one output."""

from dataclasses import replace

import torch

from model.tasks import IGNORE

NUM = 30
KEPT = {  # output -> samples that keep their label
    "verb": torch.arange(NUM) % 3 > 0,
    "noun": torch.arange(NUM) % 5 > 1,
    "state": torch.arange(NUM) % 4 > 0,
    "keyframe": torch.arange(NUM) % 2 > 0,
}


def places(mask):
    return mask.nonzero().squeeze(1)


def hide(samples):
    """Takes each output's label away from the samples that do not keep it."""
    labels = {
        name: torch.where(KEPT[name].unsqueeze(1), values, IGNORE)
        for name, values in samples.labels.items()
    }
    pnr_frame = samples.pnr_frame
    if pnr_frame is not None:
        pnr_frame = torch.where(KEPT["keyframe"], pnr_frame, torch.nan)
    return replace(samples, labels=labels, pnr_frame=pnr_frame)


def of_output(figures, output):
    """The figures of one output: all but the number of samples, where a task has only one."""
    own = {n: v for n, v in figures.items() if n != "samples"}
    return {n: v for n, v in own.items() if n.startswith(f"{output}_")} or own
