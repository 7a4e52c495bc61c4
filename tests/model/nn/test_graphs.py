import pytest
import torch

from model.nn.graphs import build_edges, build_union
from model.tasks import AR, LTA, OSCC, PNR, TASKS
from tests.support.factories import TINY, make_inputs


@pytest.mark.parametrize("spec", [AR, OSCC, PNR], ids=lambda s: s.name)
def test_neighbours_in_time_are_joined_both_ways(spec):
    pairs = set(map(tuple, build_edges(spec, TINY).T.tolist()))
    steps = range(spec.num_nodes - 1)
    assert pairs == {(i, i + 1) for i in steps} | {(i + 1, i) for i in steps}


def test_every_observed_node_reaches_every_future_node_and_not_back():
    pairs = set(map(tuple, build_edges(LTA, TINY).T.tolist()))
    for future in range(2, 22):
        assert {(0, future), (1, future)} <= pairs
        assert (future, 0) not in pairs
        assert ((future, 1) in pairs) == (future == 2)  # only the next one talks back


def test_the_union_keeps_graphs_apart():
    inputs = make_inputs(graphs=3)
    union = build_union([(TASKS[t], x) for t, x in inputs.items()], TINY)
    owner = torch.cat(
        [
            torch.arange(3).repeat_interleave(TASKS[t].num_nodes) + 10 * place
            for place, t in enumerate(inputs)
        ]
    )
    assert len(owner) == len(union.origin) == len(union.positions)
    hears = union.mean(torch.eye(len(owner)))  # row i is what node i hears of every node
    target, source = hears.nonzero().T
    assert torch.equal(owner[source], owner[target])
    assert len(source) == sum(3 * build_edges(TASKS[t], TINY).shape[1] for t in inputs)
    torch.testing.assert_close(hears.sum(dim=1), torch.ones(len(owner)))


def test_future_nodes_start_as_the_mean_of_the_observed_ones():
    x = make_inputs()["lta"]
    union = build_union([(LTA, x)], TINY)
    nodes = union.xs[0][union.origin].unflatten(0, (2, 22))
    torch.testing.assert_close(nodes[:, 2:], x.mean(1, keepdim=True).expand(-1, 20, -1, -1))
    assert torch.equal(nodes[:, :2], x)


def test_positions_start_where_the_task_says():
    union = build_union([(AR, make_inputs(1)["ar"])], TINY)
    assert union.positions.tolist() == list(range(-4, 5))
