import pytest
import torch

from tests.support.checkpoints import Shape, make_checkpoint
from tests.weights.authors.refusals import refusal

SLIM = Shape(layers=1, depth=1)


def every_tensor(checkpoint):
    return [(part, name) for part, state in checkpoint.items() if part != "epoch" for name in state]


@pytest.mark.slow
@pytest.mark.parametrize("novel", ["ar", None])
def test_every_missing_tensor_is_refused(tmp_path, labels, novel):
    whole = make_checkpoint(novel, shape=SLIM)
    for part, name in every_tensor(whole):
        lacking = {n: t for n, t in whole[part].items() if n != name}
        detail = refusal(tmp_path, labels, whole | {part: lacking})
        assert name in detail or "aux_classifiers" in name or name.startswith("net.module_0")


@pytest.mark.slow
@pytest.mark.parametrize("novel", ["pnr", None])
def test_every_tensor_of_a_wrong_shape_is_refused(tmp_path, labels, novel):
    whole = make_checkpoint(novel, shape=SLIM)
    for part, name in every_tensor(whole):
        *rows, columns = whole[part][name].shape
        for wrong in (torch.zeros(*rows, columns + 1), torch.tensor(1.0)):
            refusal(tmp_path, labels, whole | {part: whole[part] | {name: wrong}})


@pytest.mark.parametrize("part", ["temporal_graph", "task/pnr", "graphone"])
def test_an_unknown_tensor_is_refused_by_name(tmp_path, labels, part):
    checkpoint = make_checkpoint("ar")
    checkpoint[part]["net.7.gate"] = torch.zeros(2)
    assert f"{part}: unknown tensor net.7.gate" in refusal(tmp_path, labels, checkpoint)


def test_other_positions_are_refused(tmp_path, labels):
    checkpoint = make_checkpoint("ar")
    checkpoint["temporal_graph"]["positional_encoding.frequency"] *= 2
    assert "frequency" in refusal(tmp_path, labels, checkpoint)
