import pytest
import torch
from torch.nn import functional as F

from model.backbone import TemporalBackbone, encode_positions
from model.graphs import Union
from tests.factories import D_IN, TINY


def random_union(num_nodes=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.rand(num_nodes, num_nodes, generator=generator) < 0.3
    pairs.fill_diagonal_(False)
    pairs[:, 0] = False  # node 0 hears from nobody
    return Union(
        torch.randn(num_nodes, 3, D_IN, generator=generator),
        torch.arange(num_nodes) - 3,
        pairs.nonzero().T.contiguous(),
        {},
    )


def test_a_layer_is_equations_1_and_2_written_as_a_loop():
    backbone = TemporalBackbone(TINY).eval()
    union = random_union()
    conv = backbone.convs[0]
    x = torch.randn(7, TINY.hidden_size)
    expected = []
    for i in range(len(x)):
        heard = [j for j, target in union.edge_index.T.tolist() if target == i]
        message = torch.zeros(TINY.hidden_size)
        for j in heard:  # eq. 2
            message += torch.relu(conv.lin.weight @ x[j] + conv.lin.bias) / len(heard)
        # eq. 1
        expected.append(conv.lin_r.weight @ x[i] + conv.lin_l.weight @ message + conv.lin_l.bias)
    torch.testing.assert_close(conv(x, union.edge_index), torch.stack(expected))


def test_the_stack_is_layers_norms_and_one_residual_without_positions():
    backbone = TemporalBackbone(TINY).eval()
    union = random_union()
    pooled = backbone.pooling(union.x)
    h = pooled + encode_positions(union.positions, TINY.hidden_size)
    for conv, norm in zip(backbone.convs, backbone.norms, strict=True):
        h = F.leaky_relu(norm(conv(h, union.edge_index)), 0.2)
    torch.testing.assert_close(backbone(union), pooled + h)


def test_permuting_edges_changes_nothing():
    backbone = TemporalBackbone(TINY).eval()
    union = random_union()
    order = torch.randperm(union.edge_index.shape[1])
    shuffled = Union(union.x, union.positions, union.edge_index[:, order], {})
    torch.testing.assert_close(backbone(union), backbone(shuffled))


def test_renaming_nodes_renames_the_output():
    backbone = TemporalBackbone(TINY).eval()
    union = random_union()
    order = torch.randperm(7)
    place = torch.empty_like(order)
    place[order] = torch.arange(7)
    renamed = Union(union.x[order], union.positions[order], place[union.edge_index], {})
    torch.testing.assert_close(backbone(union)[order], backbone(renamed))


def test_a_removed_edge_changes_only_what_it_reaches():
    backbone = TemporalBackbone(TINY).eval()
    line = torch.tensor([[0, 1, 1, 2, 2, 3, 5, 6], [1, 0, 2, 1, 3, 2, 6, 5]])
    union = random_union()
    whole = backbone(Union(union.x, union.positions, line, {}))
    cut = backbone(Union(union.x, union.positions, line[:, :-2], {}))
    assert torch.equal(whole[:5], cut[:5])
    assert not torch.allclose(whole[5:], cut[5:])


def test_positions_are_sines_then_cosines():
    code = encode_positions(torch.tensor([0, 3]), 8)
    assert torch.equal(code[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    angles = 3 * torch.tensor([1.0, 10 ** (-4 / 3), 10 ** (-8 / 3), 1e-4])
    torch.testing.assert_close(code[1], torch.cat([angles.sin(), angles.cos()]))


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_every_forward_is_one_counted_pass(num_layers):
    from dataclasses import replace

    backbone = TemporalBackbone(replace(TINY, num_layers=num_layers))
    assert backbone(random_union()).shape == (7, TINY.hidden_size)
    assert backbone.passes == 1
