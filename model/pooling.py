"""From many vectors to one: over a node's S vectors, over a graph's nodes, over a task's nodes."""

from torch import Tensor, nn

from model.config import ModelConfig
from model.tasks import Readout, TaskSpec


class NodePooling(nn.Module):
    """Aggregates the S vectors of a node into one.

    The paper names TRN; the authors' code runs an MLP on the concatenation, and so does this.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.layers = nn.Sequential(
            nn.Linear(config.vectors_per_node * config.input_size, width),
            nn.LayerNorm(width),
            nn.ReLU(),
            nn.Dropout(config.pooling_dropout),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.ReLU(),
            nn.Dropout(config.pooling_dropout),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor, origin: Tensor) -> Tensor:
        """Returns one vector per node, (N, D).

        Nodes that start alike stay alike until dropout tells them apart, and are computed once.

        Args:
            x: (M, S, D_in) vectors of every distinct node.
            origin: (N,) row of x that each node starts as.
        """
        before, after = self.layers[:3], self.layers[3:]
        alike: Tensor = before(x.flatten(1))  # (M, D)
        if self.training:
            return after(alike.index_select(0, origin))  # type: ignore[no-any-return]
        return after(alike).index_select(0, origin)  # type: ignore[no-any-return]


def select_nodes(spec: TaskSpec, features: Tensor) -> Tensor:
    """Keeps the nodes a task's answer depends on, (G, n, D), from all its nodes, (G*N, D).

    CENTRE keeps one node a graph, FUTURE the unobserved ones, GRAPH and NODES all of them.
    """
    nodes: Tensor = features.unflatten(0, (-1, spec.num_nodes))
    if spec.readout is Readout.CENTRE:
        centre = spec.num_nodes // 2
        return nodes[:, centre : centre + 1]
    if spec.readout is Readout.FUTURE:
        return nodes[:, spec.num_segments :]
    return nodes


def pool_graph(spec: TaskSpec, nodes: Tensor) -> Tensor:
    """Takes the maximum over each graph's nodes where the answer is one per graph (Sec. 3.2).

    Args:
        spec: the task.
        nodes: (G, n, D) as `select_nodes` returns them.

    Returns:
        (G, 1, D) for GRAPH, else the input.
    """
    return nodes.amax(dim=1, keepdim=True) if spec.readout is Readout.GRAPH else nodes
