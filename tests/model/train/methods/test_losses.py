import pytest
import torch

from model.config import FitConfig
from model.tasks import IGNORE, TASKS
from model.train.methods.losses import output_loss, task_loss
from tests.model.support.samples import make_samples
from tests.support.factories import NUM_LABELS, TINY


@pytest.mark.parametrize("labels", [1, 4])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_the_labelled_alone_and_zero_without_any(labels, smoothing):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, labels, generator=g, requires_grad=True)
    target = torch.randint(max(labels, 2), (6, 3), generator=g)
    kept = torch.tensor([0, 2, 5])
    alone = output_loss(logits[kept], target[kept], smoothing=smoothing)
    hidden = torch.full_like(target, IGNORE)
    hidden[kept] = target[kept]
    torch.testing.assert_close(output_loss(logits, hidden, smoothing=smoothing), alone)
    nothing = output_loss(logits, torch.full_like(target, IGNORE), smoothing=smoothing)
    nothing.backward()
    assert nothing.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


FIT = FitConfig(epochs=1, learning_rate=1e-3, label_smoothing=0.1)


def test_a_part_without_labels_costs_nothing_and_gives_every_parameter_a_gradient():
    samples = make_samples(TASKS["ar"], 4)
    samples.labels["noun"][:2] = IGNORE
    batch = samples.draw(torch.arange(4), TINY, part=slice(0, 2))
    assert batch.shares == {"verb": 0.5, "noun": 0.0}
    weight = torch.ones(1, requires_grad=True)
    logits = {name: weight * torch.ones(2, 1, NUM_LABELS[name]) for name in batch.labels}
    loss = task_loss(TASKS["ar"], logits, batch.labels, config=FIT, shares=batch.shares)
    loss.backward()
    assert loss.isfinite()
    assert weight.grad.isfinite().all()
