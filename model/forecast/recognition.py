"""The recognised past of LTA's windows: AR's posteriors of every earlier action.

AR looks at four actions on either side. Those after the last observed one are not there yet: the
last four actions of a window are recognised with the neighbours that it has seen.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.samples import Samples
from model.data.sequences import ObservedActions
from model.forecast.sampling import PastActions
from model.tasks import AR

BATCH = 64
"""Graphs recognised together."""

REACH = AR.num_segments // 2

Answer = Callable[[Tensor], dict[str, Tensor]]
"""Observed nodes, (G, 9, S, D_in) -> output -> logits (G, 1, Y)."""


@torch.inference_mode()
def recognise(
    samples: Samples,
    answer: Answer,
    config: ModelConfig,
    temperature: Mapping[str, float],
    *,
    progress: Callable[[int], object] | None = None,
) -> PastActions:
    """Returns AR's posteriors of every action that a window of LTA sees, zeros for the others.

    Args:
        samples: of LTA, with their past.
        answer: AR's logits.
        config: rules of row selection.
        temperature: "ar.verb" and "ar.noun" -> temperature, 1 where missing.
        progress: called with the number of graphs of each batch.
    """
    assert samples.past is not None
    past = samples.past
    seen = past.seen()
    graphs = past_graphs(samples, past, seen)
    parts: dict[str, list[Tensor]] = {name: [] for name in AR.outputs}
    for which in torch.arange(len(graphs)).split(BATCH):
        logits = answer(graphs.draw(which, config).inputs)
        for name, values in parts.items():
            divided = logits[name][:, 0] / temperature.get(f"{AR.name}.{name}", 1.0)
            values.append(divided.softmax(dim=-1).cpu())
        if progress:
            progress(len(which))
    spread = {}
    for name, values in parts.items():
        found = torch.cat(values).unflatten(0, (len(seen), REACH + 1))
        spread[name] = found.new_zeros(len(past.segments), *found.shape[1:])
        spread[name][seen] = found
    return PastActions(spread["verb"], spread["noun"])


def past_graphs(samples: Samples, past: ObservedActions, which: Tensor) -> Samples:
    """Returns AR's graphs of some actions, five each: with 0 to 4 later actions observed.

    Args:
        samples: with the features.
        past: the actions.
        which: (A',) positions of the actions.
    """
    place = which.view(-1, 1, 1) + torch.arange(-REACH, REACH + 1)  # (A', 1, 9)
    last = which.unsqueeze(1) + torch.arange(REACH + 1)
    last = torch.minimum(last, _clip_ends(past)[which].unsqueeze(1))  # (A', 5)
    place = torch.minimum(place, last.unsqueeze(2))
    place = torch.maximum(place, past.clip_start[which].view(-1, 1, 1)).flatten(0, 1)
    centre = which.repeat_interleave(REACH + 1)
    return Samples(
        AR,
        samples.tracks,
        past.segments[place],
        past.video_offset[centre],
        past.video_rows[centre],
        {},
    )


def _clip_ends(past: ObservedActions) -> Tensor:
    """Position of the last action of each action's clip, (A,)."""
    _, count = past.clip_start.unique_consecutive(return_counts=True)
    ends: Tensor = (count.cumsum(0) - 1).repeat_interleave(count)
    return ends
