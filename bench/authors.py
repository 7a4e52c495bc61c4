"""The authors' formulation, written anew from its description: what we measure ourselves against.

A dataset a task that makes one graph object a sample; every task its own pass through the
backbone; a norm over all nodes and channels of the batch; message passing over the whole graph of
prototypes and features. It shares weights with the model package, and no code.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Batch
from torch_geometric.nn import LayerNorm, SAGEConv, global_max_pool
from torch_geometric.utils import add_self_loops

from model.config import ModelConfig
from model.egopack import Skill
from model.multitask import MultiTaskModel
from model.tasks import Readout, TaskSpec


def two_layers(width: int) -> nn.Sequential:
    """The MLP of a head: Linear, LayerNorm, ReLU, Linear."""
    return nn.Sequential(
        nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width)
    )


class AuthorsBackbone(nn.Module):
    """Pools a node's vectors and runs GraphSAGE over the edges, normalising over the batch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, drop = config.hidden_size, config.pooling_dropout
        self.trn = nn.Sequential(
            nn.Linear(config.vectors_per_node * config.input_size, width),
            nn.LayerNorm(width), nn.ReLU(), nn.Dropout(drop),
            nn.Linear(width, width),
            nn.LayerNorm(width), nn.ReLU(), nn.Dropout(drop),
            nn.Linear(width, width),
        )  # fmt: skip
        depth = range(config.num_layers)
        self.convs = nn.ModuleList(SAGEConv(width, width, project=True) for _ in depth)
        self.norms = nn.ModuleList(LayerNorm(width) for _ in depth)  # given no batch vector
        self.last = nn.Linear(width, width)
        exponents = torch.linspace(0, 1, width // 2)
        self.register_buffer("rates", 10_000.0**-exponents, persistent=False)
        self.passes = 0

    def forward(self, batch: Batch) -> Tensor:
        """Returns features of every node, (N, D)."""
        self.passes += 1
        z: Tensor = self.trn(batch.x.flatten(1))
        angles = batch.pos.unsqueeze(1) * self.rates
        h = z + torch.cat([angles.sin(), angles.cos()], dim=1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.leaky_relu(norm(conv(h, batch.edge_index)), 0.2)
        return z + self.last(h)

    def copy_weights(self, ours: MultiTaskModel) -> None:
        """Takes over our backbone's weights, all of them."""
        state = ours.backbone.state_dict()
        self.load_state_dict({k.replace("pooling.layers", "trn"): v for k, v in state.items()})


class AuthorsMultiTask(nn.Module):
    """Stage 1: backbone, heads and classifiers, which see one task's graphs at a time."""

    def __init__(
        self, config: ModelConfig, specs: Sequence[TaskSpec], num_labels: Mapping[str, int]
    ) -> None:
        super().__init__()
        width = config.hidden_size
        self.specs = {spec.name: spec for spec in specs}
        self.backbone = AuthorsBackbone(config)
        self.heads = nn.ModuleDict({spec.name: two_layers(width) for spec in specs})
        self.classifiers = nn.ModuleDict(
            {
                spec.name: nn.ModuleDict({o: nn.Linear(width, num_labels[o]) for o in spec.outputs})
                for spec in specs
            }
        )

    def forward(self, task: str, batch: Batch) -> dict[str, Tensor]:
        """Returns logits of every node, (N, Y), or of every graph where the task pools."""
        view = self.heads[task](self.backbone(batch))
        if self.specs[task].readout is Readout.GRAPH:
            view = global_max_pool(view, batch.batch)
        return {name: layer(view) for name, layer in self.classifiers[task].items()}

    def loss(self, task: str, batch: Batch) -> Tensor:
        """Returns the mean over all nodes, those without a label counting as zero."""
        total = torch.zeros(())
        for name, logits in self(task, batch).items():
            if logits.shape[1] == 1:
                each = F.binary_cross_entropy_with_logits(
                    logits[:, 0], batch[name].float(), reduction="none"
                )
            else:
                each = F.cross_entropy(logits, batch[name], ignore_index=-1, reduction="none")
            total = total + each.mean()
        return total

    def copy_weights(self, ours: MultiTaskModel) -> None:
        """Takes over our model's weights, all of them."""
        self.backbone.copy_weights(ours)
        for task, head in self.heads.items():
            head.load_state_dict(ours.heads[task].layers.state_dict())
            self.classifiers[task].load_state_dict(ours.classifiers[task].outputs.state_dict())


class AuthorsInteraction(nn.Module):
    """Convolves the whole graph of prototypes and features; keeps the features' outputs."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, depth = config.hidden_size, range(config.interaction_layers)
        self.num_neighbours = config.num_neighbours
        self.convs = nn.ModuleList(SAGEConv(width, width, aggr="max", bias=False) for _ in depth)
        self.outs = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width)) for _ in depth
        )

    def forward(self, h: Tensor, prototypes: Tensor) -> Tensor:
        """Returns (Q, D) from features (Q, D) and prototypes (P, D)."""
        count = len(prototypes)
        with torch.no_grad():
            cosine = F.normalize(h, dim=1) @ F.normalize(prototypes, dim=1).T
            closest = cosine.topk(self.num_neighbours, dim=1).indices  # (Q, k)
        target = torch.arange(len(h)).repeat_interleave(self.num_neighbours) + count
        edges = torch.stack([closest.flatten(), target])
        edges, _ = add_self_loops(edges, num_nodes=count + len(h))
        for conv, out in zip(self.convs, self.outs, strict=True):
            whole = conv(torch.cat([prototypes, h]), edges)  # (P + Q, D)
            h = h + out(whole[count:])
        return h

    def copy_weights(self, ours: nn.Module) -> None:
        """Takes over the weights of our interaction, all of them."""
        for layer, conv, out in zip(ours.layers, self.convs, self.outs, strict=True):  # type: ignore[arg-type]
            conv.lin_l.load_state_dict(layer.neighbours.state_dict())
            conv.lin_r.load_state_dict(layer.root.state_dict())
            out.load_state_dict(layer.refine.state_dict())


class AuthorsEgoPack(nn.Module):
    """Stage 2: one novel task's model, with a backbone of its own."""

    def __init__(
        self, config: ModelConfig, spec: TaskSpec, known: Sequence[str], num_labels: dict[str, int]
    ) -> None:
        super().__init__()
        width = config.hidden_size
        self.spec = spec
        self.backbone = AuthorsBackbone(config)
        self.heads = nn.ModuleDict({task: two_layers(width) for task in [*known, spec.name]})
        self.interactions = nn.ModuleDict({task: AuthorsInteraction(config) for task in known})
        self.classifiers = nn.ModuleDict(
            {
                task: nn.ModuleDict({o: nn.Linear(width, num_labels[o]) for o in spec.outputs})
                for task in self.heads
            }
        )

    def forward(self, batch: Batch, prototypes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns fused logits of every node, or of every graph where the task pools."""
        features = self.backbone(batch)
        views = [(self.spec.name, self.heads[self.spec.name](features))]
        for task, interaction in self.interactions.items():
            known = self.heads[task](features).detach()
            views.append((task, interaction(known, prototypes[task])))
        if self.spec.readout is Readout.GRAPH:
            views = [(task, global_max_pool(view, batch.batch)) for task, view in views]
        fused = {}
        for name in self.spec.outputs:
            votes = torch.stack([self.classifiers[task][name](view) for task, view in views])
            pooled = self.spec.readout is Readout.GRAPH
            fused[name] = votes.mean(dim=0) if pooled else votes.sum(dim=0)
        return fused

    def copy_weights(self, ours: Skill, model: MultiTaskModel) -> None:
        """Takes over the weights of our skill and of the model it stands on."""
        self.backbone.copy_weights(model)
        own = self.spec.name
        self.heads[own].load_state_dict(ours.head.layers.state_dict())
        self.classifiers[own].load_state_dict(ours.classifier.outputs.state_dict())
        for task, interaction in self.interactions.items():
            self.heads[task].load_state_dict(model.heads[task].layers.state_dict())
            interaction.copy_weights(ours.interactions[task])
            self.classifiers[task].load_state_dict(ours.voters[task].outputs.state_dict())
