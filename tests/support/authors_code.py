"""The authors' forward pass on a checkpoint's own tensors, written anew from its description.

It shares nothing with the model: loops over nodes for the temporal graph, the whole graph of
prototypes and features for the interaction.
"""

import torch
from torch.nn import functional as F

from tests.support.checkpoints import ENTRY, SMALL

NODES = {"ar": 9, "lta": 22, "oscc": 4, "pnr": 16}
FIRST = {"ar": -4, "lta": 0, "oscc": 0, "pnr": 0}
GRAPHS = 3
K = 4


def linear(state, name, x):
    y = x @ state[f"{name}.weight"].T
    return y + state[f"{name}.bias"] if f"{name}.bias" in state else y


def layer_norm(state, name, x):
    centred = x - x.mean(dim=1, keepdim=True)
    deviation = (centred.pow(2).mean(dim=1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * state[f"{name}.weight"] + state[f"{name}.bias"]


def whole_batch_norm(state, name, x):
    deviation = ((x - x.mean()) ** 2).mean().sqrt()
    return (x - x.mean()) / (deviation + 1e-5) * state[f"{name}.weight"] + state[f"{name}.bias"]


def sources_of(task, node):
    """Nodes whose messages reach a node: one hop, and the last input for every future node."""
    near = {node - 1, node + 1} & set(range(NODES[task]))
    return near | ({1} if task == "lta" and node >= 2 else set())


def temporal_graph(state, task, x, layers):
    """(M, 3, D_in) nodes of whole graphs, one after the other -> (M, D)."""
    h = x.flatten(1)
    for step in (0, 4):
        h = linear(state, f"temporal_pooling.proj.{step}", h)
        h = layer_norm(state, f"temporal_pooling.proj.{step + 1}", h).relu()
    pooled = linear(state, "temporal_pooling.proj.8", h)
    if layers == 0:
        return pooled
    size = NODES[task]
    place = torch.arange(len(x)) % size + FIRST[task]
    angle = place[:, None] * state["positional_encoding.frequency"]
    h = pooled + torch.cat([angle.sin(), angle.cos()], dim=1)
    for layer in range(layers):
        conv = f"net.module_{3 * layer}"
        projected = linear(state, f"{conv}.lin", h).relu()
        messages = torch.stack(
            [
                projected[[i - i % size + j for j in sorted(sources_of(task, i % size))]].mean(0)
                for i in range(len(h))
            ]
        )
        h = linear(state, f"{conv}.lin_l", messages) + linear(state, f"{conv}.lin_r", h)
        h = whole_batch_norm(state, f"net.module_{3 * layer + 1}", h)
        h = torch.where(h > 0, h, 0.2 * h)
    return pooled + linear(state, f"net.module_{3 * layers}", h)


def project(state, f):
    return linear(state, "net.4", layer_norm(state, "net.2", linear(state, "net.1", f)).relu())


def interact(state, task, features, depth):
    """The whole graph of prototypes and features is convolved; edges come from the first look."""
    prototypes = state[f"embeddings.{task}.weight"]
    cosine = F.cosine_similarity(features[:, None], prototypes[None], dim=2)
    closest = cosine.argsort(dim=1, descending=True)[:, :K]
    h = features
    for layer in range(depth):
        stage = f"conv_stages.{task}.{layer}"
        nodes = torch.cat([prototypes, h])
        largest = nodes.clone()  # every node is its own neighbour
        for i, rows in enumerate(closest.tolist()):
            largest[len(prototypes) + i] = nodes[[*rows, len(prototypes) + i]].amax(dim=0)
        u = linear(state, f"{stage}.module_0.lin_l", largest)
        u = u + linear(state, f"{stage}.module_0.lin_r", nodes)
        u = linear(state, f"{stage}.module_3", layer_norm(state, f"{stage}.module_1", u).relu())
        h = u[len(prototypes) :] + h
    return h


def classify(state, task, features, prefix):
    """Logits of every node, or of every graph for OSCC, one tensor per output."""
    if task == "oscc":
        features = features.unflatten(0, (-1, NODES[task])).amax(dim=1)
    if task in ("ar", "lta"):
        return [linear(state, f"{prefix}.{i}.1", features) for i in (0, 1)]
    return [linear(state, f"{prefix}.1", features)]


def authors_answer(checkpoint, task, x, shape=SMALL):
    """Logits as the authors' validation computes them, output by output."""
    head = checkpoint[ENTRY[task]]
    f = temporal_graph(checkpoint["temporal_graph"], task, x, shape.layers)
    own = "classifiers" if task in ("ar", "lta") else "classifier"
    votes = [classify(head, task, project(head, f), own)]
    stages = checkpoint.get("graphone") or {}
    for other in sorted({name.split(".")[1] for name in stages}):
        view = interact(stages, other, project(checkpoint[ENTRY[other]], f), shape.depth)
        votes.append(classify(head, task, view, f"aux_classifiers.{other}"))
    joined = [torch.stack(each) for each in zip(*votes, strict=True)]
    return [each.mean(dim=0) if task == "oscc" else each.sum(dim=0) for each in joined]


def inputs_and_nodes(task, seed=7):
    """What our model takes, (G, n, S, D_in), and the same graphs' nodes, (G*N, S, D_in)."""
    generator = torch.Generator().manual_seed(seed)
    seen = 2 if task == "lta" else NODES[task]
    inputs = torch.randn(GRAPHS, seen, SMALL.vectors, SMALL.d_in, generator=generator)
    future = inputs.mean(dim=1, keepdim=True).repeat(1, NODES[task] - seen, 1, 1)
    return inputs, torch.cat([inputs, future], dim=1).flatten(0, 1)


def read_out(task, logits):
    """The nodes a task is scored on, (G, n, Y)."""
    if task == "oscc":
        return logits.unsqueeze(1)
    per_graph = logits.unflatten(0, (GRAPHS, NODES[task]))
    return {"ar": per_graph[:, 4:5], "lta": per_graph[:, 2:], "pnr": per_graph}[task]


def authors_prototypes(checkpoint, nodes, pairs, known, shape=SMALL):
    """The backpack as their code collects it from AR's graphs: the labels once for every task.

    `pairs` are the actions of the graphs' centres, verb * nouns + noun; prototypes come in
    ascending order of them.
    """
    features = temporal_graph(checkpoint["temporal_graph"], "ar", nodes, shape.layers)
    centres = features.unflatten(0, (-1, NODES["ar"]))[:, 4]
    sums, seen = {}, []
    for task in known:
        view = project(checkpoint[ENTRY[task]], centres).double()
        sums[task] = torch.stack([view[pairs == pair].sum(dim=0) for pair in pairs.unique()])
        seen += pairs.tolist()
    count = torch.tensor([seen.count(pair) for pair in pairs.unique().tolist()])
    return {task: (total / count[:, None]).float() for task, total in sums.items()}


def authors_error_s(node, start, end, keyframe):
    """Seconds that a chosen node is off, from frames alone."""
    return abs((end - start) / 16 * node - (keyframe - start)) / 30
