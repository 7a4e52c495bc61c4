import torch

from model.nn.few_labels.rows import POSTERIOR_TEMPERATURE, Rows, read_rows
from model.tasks import AR, OSCC
from tests.support.factories import make_backpack


def test_designs_are_perspectives_posteriors_and_their_mean_prototypes():
    pack = make_backpack(["ar", "pnr"])
    nodes = torch.randn(5, 1, 8)
    views = {"ar": torch.randn(5, 1, 8), "pnr": torch.randn(5, 1, 8)}
    rows = read_rows(AR, nodes, views, pack)
    assert torch.equal(rows.features, nodes[:, 0])
    assert torch.equal(rows.views[:, 8:], views["pnr"][:, 0])
    for row in range(5):
        cosine = torch.cosine_similarity(views["pnr"][row], pack.prototypes["pnr"], dim=1)
        chance = (cosine / POSTERIOR_TEMPERATURE).softmax(dim=0)
        torch.testing.assert_close(rows.posterior[row, 7:], chance.sqrt())
        torch.testing.assert_close(rows.smoothed[row, 8:], chance @ pack.prototypes["pnr"])


def test_a_whole_graph_is_the_mean_of_its_nodes():
    pack = make_backpack(["ar"])
    nodes, view = torch.randn(3, 4, 8), torch.randn(3, 4, 8)
    rows = read_rows(OSCC, nodes, {"ar": view}, pack)
    apart = read_rows(
        AR, nodes.flatten(0, 1).unsqueeze(1), {"ar": view.flatten(0, 1).unsqueeze(1)}, pack
    )
    for design in ("features", "views", "smoothed", "posterior"):
        power = 2 if design == "posterior" else 1  # its square is a mixture of the nodes'
        expected = (getattr(apart, design) ** power).unflatten(0, (3, 4)).mean(dim=1) ** (1 / power)
        torch.testing.assert_close(getattr(rows, design), expected)


def test_without_a_backpack_there_are_features_only():
    rows = read_rows(AR, torch.randn(5, 1, 8), {}, None)
    assert rows.views.shape == rows.posterior.shape == (5, 0)
    assert len(Rows.join([rows, rows.take(torch.tensor([1]))])) == 6
