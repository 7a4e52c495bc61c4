from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch_geometric.nn import SAGEConv

from model.nn.backbone import TemporalBackbone, encode_positions
from model.nn.graphs import GraphBatch, build_edges, build_union
from model.tasks import TASKS
from tests.support.factories import D_IN, TINY, make_inputs


def random_edges(num_nodes=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.rand(num_nodes, num_nodes, generator=generator) < 0.3
    pairs.fill_diagonal_(False)
    pairs[:, 0] = False  # node 0 hears from nobody
    return pairs.nonzero().T.contiguous()


def make_union(edges, num_nodes=7, seed=1):
    """One graph of any shape."""
    hears = torch.zeros(num_nodes, num_nodes)
    hears[edges[1], edges[0]] = 1
    return GraphBatch(
        (torch.randn(num_nodes, 3, D_IN, generator=torch.Generator().manual_seed(seed)),),
        torch.arange(num_nodes),
        torch.arange(num_nodes) - 3,
        {"any": hears / hears.sum(dim=1, keepdim=True).clamp(min=1)},
        {"any": num_nodes},
    )


def random_union():
    return make_union(random_edges())


def test_a_layer_is_equations_1_and_2_written_as_a_loop():
    backbone = TemporalBackbone(TINY).eval()
    edges = random_edges()
    conv = backbone.convs[0]
    x = torch.randn(7, TINY.hidden_size)
    expected = []
    for i in range(len(x)):
        heard = [j for j, target in edges.T.tolist() if target == i]
        message = torch.zeros(TINY.hidden_size)
        for j in heard:  # eq. 2
            message += torch.relu(conv.lin.weight @ x[j] + conv.lin.bias) / len(heard)
        # eq. 1
        expected.append(conv.lin_r.weight @ x[i] + conv.lin_l.weight @ message + conv.lin_l.bias)
    torch.testing.assert_close(conv(x, make_union(edges)), torch.stack(expected))


@pytest.mark.parametrize("future_edges", ["all", "last"])
def test_a_layer_is_pygs_over_the_edges_of_all_graphs(future_edges):
    config = replace(TINY, future_edges=future_edges)
    inputs = make_inputs(graphs=3)
    union = build_union([(TASKS[t], x) for t, x in inputs.items()], config)
    shifted, offset = [], 0
    for task in inputs:
        for _ in range(3):
            shifted.append(build_edges(TASKS[task], config) + offset)
            offset += TASKS[task].num_nodes
    conv = TemporalBackbone(config).convs[0]
    pyg = SAGEConv(config.hidden_size, config.hidden_size, project=True)
    pyg.load_state_dict(conv.state_dict())
    x = torch.randn(offset, config.hidden_size)
    torch.testing.assert_close(conv(x, union), pyg(x, torch.cat(shifted, dim=1)))


def test_the_stack_is_layers_norms_and_one_residual_without_positions():
    backbone = TemporalBackbone(TINY).eval()
    union = random_union()
    pooled = backbone.pooling.layers(union.xs[0].flatten(1))
    h = pooled + encode_positions(union.positions, TINY.hidden_size)
    for conv, norm in zip(backbone.convs, backbone.norms, strict=True):
        h = F.leaky_relu(norm(conv(h, union)), 0.2)
    torch.testing.assert_close(backbone(union), pooled + h)


def test_renaming_nodes_renames_the_output():
    backbone = TemporalBackbone(TINY).eval()
    union = random_union()
    order = torch.randperm(7)
    means = {"any": union.means["any"][order][:, order]}
    renamed = GraphBatch(union.xs, order, union.positions[order], means, union.sizes)
    torch.testing.assert_close(backbone(union)[order], backbone(renamed))


def test_a_removed_edge_changes_only_what_it_reaches():
    backbone = TemporalBackbone(TINY).eval()
    line = torch.tensor([[0, 1, 1, 2, 2, 3, 5, 6], [1, 0, 2, 1, 3, 2, 6, 5]])
    whole = backbone(make_union(line))
    cut = backbone(make_union(line[:, :-2]))
    assert torch.equal(whole[:5], cut[:5])
    assert not torch.allclose(whole[5:], cut[5:])


def test_positions_are_sines_then_cosines():
    code = encode_positions(torch.tensor([0, 3]), 8)
    assert torch.equal(code[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    angles = 3 * torch.tensor([1.0, 10 ** (-4 / 3), 10 ** (-8 / 3), 1e-4])
    torch.testing.assert_close(code[1], torch.cat([angles.sin(), angles.cos()]))


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_every_forward_is_one_counted_pass(num_layers):
    backbone = TemporalBackbone(replace(TINY, num_layers=num_layers))
    assert backbone(random_union()).shape == (7, TINY.hidden_size)
    assert backbone.passes == 1
