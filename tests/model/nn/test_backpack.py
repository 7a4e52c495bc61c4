import pytest
import torch

from model.errors import BackpackInvalid
from model.nn.backpack import Backpack, average_per_action
from tests.support.factories import make_backpack


def test_a_prototype_is_the_mean_of_its_pairs_perspectives():
    verb = torch.tensor([2, 0, 2, 2])
    noun = torch.tensor([1, 3, 1, 0])
    views = {"ar": torch.randn(4, 5), "pnr": torch.randn(4, 5)}
    pack = average_per_action(views, {"verb": verb, "noun": noun}, search="torch")
    pairs = list(zip(*(ids.tolist() for ids in pack.labels.values()), strict=True))
    assert pairs == [(0, 3), (2, 0), (2, 1)]
    assert pack.count.tolist() == [1, 1, 2]
    for task, x in views.items():
        expected = torch.stack([x[1], x[3], (x[0] + x[2]) / 2])
        torch.testing.assert_close(pack.prototypes[task], expected)


def test_the_order_of_samples_does_not_matter():
    verb, noun, views = torch.randint(3, (40,)), torch.randint(4, (40,)), torch.randn(40, 5)
    order = torch.randperm(40)
    a = average_per_action({"ar": views}, {"verb": verb, "noun": noun})
    ordered = {"verb": verb[order], "noun": noun[order]}
    b = average_per_action({"ar": views[order]}, ordered)
    torch.testing.assert_close(a.prototypes["ar"], b.prototypes["ar"])
    assert torch.equal(a.count, b.count)


def test_a_backpack_survives_the_trip_through_named_tensors():
    pack = make_backpack(["ar", "lta"])
    back = Backpack.from_tensors(pack.to_tensors("shared"), "shared")
    assert set(back.prototypes) == {"ar", "lta"}
    assert torch.equal(back.prototypes["lta"], pack.prototypes["lta"])
    assert torch.equal(back.count, pack.count)


def test_nothing_collected_is_an_error():
    empty = torch.zeros(0, dtype=torch.long)
    with pytest.raises(BackpackInvalid, match="empty"):
        average_per_action({"ar": torch.zeros(0, 5)}, {"verb": empty, "noun": empty})


def test_tasks_that_disagree_on_rows_are_refused():
    with pytest.raises(BackpackInvalid, match="prototypes of one width"):
        make_backpack(["ar"]).__class__(
            {"ar": torch.zeros(2, 3), "lta": torch.zeros(3, 3)},
            {"verb": torch.arange(2)},
            torch.arange(2),
        )


def test_tensors_without_labels_are_refused():
    with pytest.raises(BackpackInvalid, match="verb_id"):
        Backpack.from_tensors({"shared.ar": torch.zeros(2, 3)}, "shared")


def test_rows_may_be_of_any_labels_and_keep_them_through_named_tensors():
    step = torch.tensor([1, 0, 1, -1])
    hand, tool = torch.tensor([0, 1, 0, 1]), torch.tensor([2, 0, 2, 2])
    views = {"step": torch.randn(4, 5)}
    alone = average_per_action(views, {"step": step})
    assert alone.labels["step"].tolist() == [0, 1]
    assert alone.count.tolist() == [1, 2]
    three = average_per_action(views, {"step": step, "hand": hand, "tool": tool})
    tensors = three.to_tensors("shared")
    back = Backpack.from_tensors(tensors, "shared", outputs=("step", "hand", "tool"))
    rows = zip(*(ids.tolist() for ids in back.labels.values()), strict=True)
    assert list(rows) == [(0, 1, 0), (1, 0, 2)]
    with pytest.raises(BackpackInvalid, match="verb_id"):
        Backpack.from_tensors(tensors, "shared")


def test_spread_is_of_the_named_actions_and_survives_a_bundle():
    verb = torch.tensor([0, 0, 1, 1, 1, -1])
    noun = torch.tensor([2, 2, 0, 0, 0, 0])
    views = {"ar": torch.randn(6, 5), "pnr": torch.randn(6, 5)}
    pack = average_per_action(views, {"verb": verb, "noun": noun})
    centred = views["pnr"][:5] - pack.prototypes["pnr"][[0, 0, 1, 1, 1]]
    variance = centred.square().sum(dim=0) / (5 - 2)
    torch.testing.assert_close(pack.spread["pnr"].dense_diagonal(), variance)
    back = Backpack.from_tensors(pack.to_tensors("shared"), "shared")
    assert set(back.prototypes) == set(back.spread) == {"ar", "pnr"}
    assert torch.equal(back.spread["ar"].factor, pack.spread["ar"].factor)


def test_a_backpack_without_spread_saves_the_tensors_that_it_was_made_of():
    tensors = make_backpack(["ar", "lta"]).to_tensors("shared")
    back = Backpack.from_tensors(tensors, "shared")
    assert back.spread == {}
    assert back.to_tensors("shared").keys() == tensors.keys()
