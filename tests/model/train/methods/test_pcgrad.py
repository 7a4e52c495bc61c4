import torch
from torch import nn

from model.train.methods.pcgrad import pcgrad_backward, project_conflicts


def orders(tasks, seed=0):
    torch.manual_seed(seed)
    return [torch.randperm(tasks).tolist() for _ in range(tasks)]


def test_gradients_that_agree_are_only_added():
    gradients = torch.rand(3, 5)
    torch.testing.assert_close(project_conflicts(gradients, orders(3)), gradients.sum(dim=0))


def test_two_conflicting_gradients_are_each_projected_on_the_others_normal_plane():
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    # a - (a.b / b.b) b = (1/2, 1/2); b - (b.a / a.a) a = (0, 1)
    found = project_conflicts(torch.stack([a, b]), [[0, 1], [1, 0]])
    torch.testing.assert_close(found, torch.tensor([0.5, 1.5]))


def test_it_equals_the_algorithm_written_as_loops():
    for seed in range(50):
        g = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed)).double()
        order = orders(4, seed)
        total = torch.zeros(6, dtype=torch.float64)
        for i in range(4):
            mine = g[i].clone()
            for j in order[i]:
                if j != i and torch.dot(mine, g[j]) < 0:
                    mine = mine - torch.dot(mine, g[j]) / torch.dot(g[j], g[j]) * g[j]
            total += mine
        torch.testing.assert_close(project_conflicts(g, order), total)


def test_heads_keep_their_own_gradient_and_the_shared_part_is_repaired():
    torch.manual_seed(0)
    shared, heads = nn.Linear(3, 2, bias=False), nn.ModuleList(nn.Linear(2, 1) for _ in range(2))
    model = nn.ModuleList([shared, *heads])
    x = torch.randn(5, 3)

    def losses(sign):
        return torch.stack([sign * heads[0](shared(x)).sum(), -heads[1](shared(x)).sum()])

    losses(1.0).sum().backward()
    plain = [h.weight.grad.clone() for h in heads]
    rows = []
    for i in range(2):
        shared.weight.grad = None
        losses(1.0)[i].backward()
        rows.append(shared.weight.grad.flatten())
    model.zero_grad()
    value = pcgrad_backward(shared, model, losses)(1.0)
    torch.testing.assert_close(value, losses(1.0).sum().detach())
    for head, grad in zip(heads, plain, strict=True):
        torch.testing.assert_close(head.weight.grad, grad)
    repaired = project_conflicts(torch.stack(rows), [[0, 1], [1, 0]])
    torch.testing.assert_close(shared.weight.grad.flatten(), repaired)
