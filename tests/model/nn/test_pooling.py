from dataclasses import replace

import pytest
import torch

from model.nn.backbone import TemporalBackbone
from model.nn.graphs import build_union
from model.tasks import TASKS
from tests.support.factories import D_IN, TINY, make_inputs


@pytest.mark.parametrize("training", [True, False])
def test_nodes_that_start_alike_are_pooled_as_if_each_were_alone(training):
    pooling = TemporalBackbone(replace(TINY, pooling_dropout=0.5)).pooling.train(training)
    inputs = make_inputs(graphs=3)
    union = build_union([(TASKS[t], x) for t, x in inputs.items()], TINY)
    torch.manual_seed(0)
    alone = pooling.layers(torch.cat(union.xs)[union.origin].flatten(1))
    torch.manual_seed(0)  # the same dropout
    torch.testing.assert_close(pooling(union.xs, union.origin), alone)


def test_one_vector_stands_for_all_of_a_node():
    pooling = TemporalBackbone(TINY).pooling.eval()
    x = torch.randn(5, 1, D_IN)
    torch.testing.assert_close(
        pooling([x], torch.arange(5)), pooling([x.repeat(1, 3, 1)], torch.arange(5))
    )
