"""The paper's LTA network on label sequences: one-hot verbs and nouns stand for the features."""

from dataclasses import replace

import torch
from torch import Tensor

from model.config import FORECASTING, ModelConfig
from model.data.samples import Samples, Tracks
from model.data.sequences import ActionSequences, Windows
from model.evaluate.calibration import collect_logits
from model.forecast.sampling import one_hot
from model.nn.multitask import MultiTaskModel
from model.nodes import STRIDE_FRAMES, WINDOW_FRAMES
from model.tasks import LTA
from model.train.fit import FitJob
from model.train.methods.stages import train_multitask

GRAPH_FIT = replace(FORECASTING, epochs=4, learning_rate=1e-3, batch_size=64, warmup_epochs=0.2)

OUTPUTS = LTA.outputs


def graph_config(num_labels: dict[str, int]) -> ModelConfig:
    """Returns the model: 128 wide, one vector an action, else the paper's."""
    return ModelConfig(
        input_size=sum(num_labels.values()),
        hidden_size=128,
        vectors_per_node=1,
        pooling_dropout=0.1,
        head_dropout=0.1,
    )


def label_samples(
    sequences: ActionSequences, windows: Windows, num_labels: dict[str, int]
) -> Samples:
    """Returns LTA's samples of windows, the action before the last and the last observed.

    An action is one row of features: its own window of frames holds no other.

    Args:
        sequences: of the split.
        windows: with at least two actions observed and 20 to come.
        num_labels: "verb" and "noun" -> classes.
    """
    sizes = [num_labels[name] for name in OUTPUTS]
    features = torch.cat([one_hot(sequences.ids[:, i], n) for i, n in enumerate(sizes)], dim=1)
    seen = windows.last.unsqueeze(1) + torch.arange(1 - LTA.num_segments, 1)
    start = STRIDE_FRAMES * seen
    future = windows.future(sequences.ids, LTA.num_future)
    whole = torch.full((len(windows),), len(features))
    return Samples(
        LTA,
        Tracks(features, {"labels": 0}, {"labels": len(features)}),
        torch.stack([start, start + WINDOW_FRAMES], dim=-1),
        torch.zeros_like(whole),
        whole,
        {name: future[..., i] for i, name in enumerate(OUTPUTS)},
        names=[str(place) for place in windows.last.tolist()],
    )


def train_graph(train: ActionSequences, num_labels: dict[str, int], job: FitJob) -> MultiTaskModel:
    """Returns the network trained on every window of training, as the paper trains LTA alone."""
    windows = train.windows(LTA.num_segments, LTA.num_future)
    samples = label_samples(train, windows, num_labels)
    return train_multitask(graph_config(num_labels), {LTA.name: samples}, num_labels, job)


@torch.inference_mode()
def graph_logits(
    model: MultiTaskModel,
    sequences: ActionSequences,
    windows: Windows,
    num_labels: dict[str, int],
) -> dict[str, Tensor]:
    """Returns the logits of every window, output -> (M, 20, Y)."""
    samples = {LTA.name: label_samples(sequences, windows, num_labels)}

    def answer(inputs: Tensor) -> dict[str, Tensor]:
        logits: dict[str, Tensor] = model({LTA.name: inputs})[LTA.name]
        return logits

    return collect_logits({LTA.name: answer}, samples, model.config)[0][LTA.name]
