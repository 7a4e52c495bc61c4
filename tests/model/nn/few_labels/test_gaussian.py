import torch

from model.nn.few_labels.gaussian import SCALE, SHRINKAGE, class_means, fit_gaussian
from tests.model.nn.few_labels.made import LABELS, PERSPECTIVES, make_world


def test_discriminants_are_mahalanobis_distances_to_the_class_means():
    rows, labels, pack = make_world()
    few = torch.arange(9)
    weight, bias = fit_gaussian(
        rows.views[few],
        labels[few],
        torch.ones(1, 9, dtype=torch.float64),
        LABELS,
        pack,
        PERSPECTIVES,
    )
    found = (rows.views @ weight[0].T + bias[0]).log_softmax(dim=1)
    distance = torch.zeros(len(rows), LABELS, dtype=torch.float64)
    for task, view in zip(PERSPECTIVES, rows.views.chunk(2, dim=1), strict=True):
        dense = pack.spread[task].dense().double()
        identity = torch.eye(8, dtype=torch.float64) * dense.trace() / 8
        inverse = ((1 - SHRINKAGE) * dense + SHRINKAGE * identity).inverse()
        for c in range(LABELS):
            away = view - view[few][labels[few] == c].mean(dim=0)
            distance[:, c] += ((away @ inverse) * away).sum(dim=1)
    expected = (-0.5 * SCALE / 2 * distance).log_softmax(dim=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_borrowing_moves_a_single_example_towards_its_prototypes():
    rows, labels, pack = make_world()
    few, truth = torch.arange(3), labels
    right = []
    for borrows in (False, True):
        weight, bias = fit_gaussian(
            rows.views[few], labels[few], torch.ones(1, 3, dtype=torch.float64), LABELS, pack,
            PERSPECTIVES, borrows=borrows,
        )  # fmt: skip
        assert weight.shape == (1, LABELS, 16)
        right.append(int(((rows.views @ weight[0].T + bias[0]).argmax(dim=1) == truth).sum()))
    assert right[0] != right[1]


def test_a_class_without_examples_has_the_mean_of_all():
    x, labels = torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([0, 0, 2])
    means = class_means(x, labels, torch.ones(1, 3), 3)
    assert means[0, :, 0].tolist() == [1.0, 2.0, 4.0]
