"""Actions in a few perspectives, labelled by their verb: rows and a backpack of them."""

import torch

from model.nn.backpack import average_per_action
from model.nn.few_labels.rows import read_rows
from model.tasks import AR

PERSPECTIVES = ("ar", "oscc")
LABELS = 3


def make_world(samples=240, *, width=8, seed=0):
    """Rows (M) in float64, labels (M,), and the backpack of the same actions."""
    generator = torch.Generator().manual_seed(seed)
    action = torch.arange(samples) % 12
    views = {
        task: (3 * torch.randn(12, width, generator=generator))[action]
        + torch.randn(samples, width, generator=generator)
        for task in PERSPECTIVES
    }
    features = views["ar"] + torch.randn(samples, width, generator=generator)
    backpack = average_per_action(views, {"verb": action // 3, "noun": action % 3}, search="torch")
    nodes = {task: view.unsqueeze(1) for task, view in views.items()}
    rows = read_rows(AR, features.unsqueeze(1), nodes, backpack)
    return rows.map(torch.Tensor.double), action % LABELS, backpack
