"""The graph network sees the labels of the two actions observed, and nothing else."""

import torch

from model.data.sequences import ActionSequences
from model.train.forecast.graph import graph_config, label_samples

NUM = {"verb": 5, "noun": 4}


def test_each_observed_action_is_its_one_hot_verb_and_noun():
    generator = torch.Generator().manual_seed(0)
    ids = torch.stack([torch.randint(0, n, (50,), generator=generator) for n in NUM.values()], 1)
    sequences = ActionSequences.join([ids[:26], ids[26:]])
    windows = sequences.windows(2, 20)
    samples = label_samples(sequences, windows, NUM)
    batch = samples.draw(torch.arange(len(samples)), graph_config(NUM))
    assert batch.inputs.shape == (len(windows), 2, 1, 9)
    seen = ids[windows.last.unsqueeze(1) + torch.tensor([-1, 0])]
    assert torch.equal(batch.inputs[:, :, 0, :5].argmax(-1), seen[..., 0])
    assert torch.equal(batch.inputs[:, :, 0, 5:].argmax(-1), seen[..., 1])
    assert (batch.inputs.sum(-1) == 2).all()
    future = windows.future(ids, 20)
    assert torch.equal(batch.labels["verb"], future[..., 0])
    assert torch.equal(batch.labels["noun"], future[..., 1])
