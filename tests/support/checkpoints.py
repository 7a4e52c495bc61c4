"""Random checkpoints in the authors' layout, at small sizes, and Ego4D's label files to match."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

TASKS = ("ar", "oscc", "lta", "pnr")
ENTRY = {"ar": "task/recognition", "oscc": "task/oscc", "lta": "task/lta", "pnr": "task/pnr"}


@dataclass(frozen=True)
class Shape:
    d_in: int = 6
    width: int = 8
    vectors: int = 3
    layers: int = 3
    depth: int = 2
    verbs: int = 5
    nouns: int = 4
    prototypes: int = 7


SMALL = Shape()


def make_checkpoint(novel: str | None, *, shape: Shape = SMALL, seed: int = 0, known=None):
    """A second-stage checkpoint of a task, or a first-stage one of all tasks (`novel=None`).

    As in theirs, every head of the second stage has auxiliary classifiers for the other three.
    """
    draw = _Draw(seed)
    checkpoint = {"temporal_graph": _graph(draw, shape)}
    for task in TASKS:
        others = [t for t in TASKS if t != task] if novel else []
        checkpoint[ENTRY[task]] = _head(draw, task, others, shape)
    if novel is None:
        return checkpoint | {"epoch": 40}
    known = known or sorted(t for t in TASKS if t != novel)
    return checkpoint | {"graphone": _graphone(draw, known, shape)}


def write_labels(folder: Path, *, shape: Shape = SMALL, pairs: int | None = None):
    """Writes a taxonomy and a training split that shows so many (verb, noun) pairs."""
    taxonomy, actions = folder / "fho_lta_taxonomy.json", folder / "fho_lta_train.json"
    names = {
        "verbs": [f"verb{i}" for i in range(shape.verbs)],
        "nouns": [f"noun{i}" for i in range(shape.nouns)],
    }
    taxonomy.write_text(json.dumps(names))
    chosen = [2 * i for i in range(pairs or shape.prototypes)]  # verb * N + noun, every second
    rows = [
        {"verb_label": c // shape.nouns, "noun_label": c % shape.nouns}
        for c in reversed(chosen)
        for _ in range(c % 3 + 1)
    ]
    actions.write_text(json.dumps({"version": "v1", "clips": rows}))
    return taxonomy, actions


class _Draw:
    def __init__(self, seed):
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape):
        return torch.randn(shape, generator=self._generator)

    def linear(self, name, rows, columns, *, bias=True):
        named = {f"{name}.weight": self(rows, columns) / columns**0.5}
        return named | ({f"{name}.bias": self(rows)} if bias else {})

    def norm(self, name, width):
        return {f"{name}.weight": 1 + 0.1 * self(width), f"{name}.bias": 0.1 * self(width)}


def _graph(draw, shape):
    width = shape.width
    pool = "temporal_pooling.proj"
    state = {"positional_encoding.frequency": torch.logspace(0, 1, width // 2, 1e-4)}
    state |= draw.linear(f"{pool}.0", width, shape.vectors * shape.d_in)
    state |= draw.norm(f"{pool}.1", width) | draw.linear(f"{pool}.4", width, width)
    state |= draw.norm(f"{pool}.5", width) | draw.linear(f"{pool}.8", width, width)
    for layer in range(shape.layers):
        conv = f"net.module_{3 * layer}"
        state |= draw.linear(f"{conv}.lin", width, width)
        state |= draw.linear(f"{conv}.lin_l", width, width)
        state |= draw.linear(f"{conv}.lin_r", width, width, bias=False)
        state |= draw.norm(f"net.module_{3 * layer + 1}", width)
    if shape.layers:
        state |= draw.linear(f"net.module_{3 * shape.layers}", width, width)
    return state


def _head(draw, task, others, shape):
    width = shape.width
    state = draw.linear("net.1", width, width) | draw.norm("net.2", width)
    state |= draw.linear("net.4", width, width)
    if task in ("ar", "lta"):
        for i, labels in enumerate((shape.verbs, shape.nouns)):
            state |= draw.linear(f"classifiers.{i}.1", labels, width)
            for other in others:
                state |= draw.linear(f"aux_classifiers.{other}.{i}.1", labels, width)
        return state
    labels = 2 if task == "oscc" else 1
    state |= draw.linear("classifier.1", labels, width)
    for other in others:
        state |= draw.linear(f"aux_classifiers.{other}.1", labels, width)
    return state


def _graphone(draw, known, shape):
    width, state = shape.width, {}
    for task in known:
        state[f"embeddings.{task}.weight"] = draw(shape.prototypes, width)
        for layer in range(shape.depth):
            stage = f"conv_stages.{task}.{layer}"
            state |= draw.linear(f"{stage}.module_0.lin_l", width, width, bias=False)
            state |= draw.linear(f"{stage}.module_0.lin_r", width, width, bias=False)
            state |= draw.norm(f"{stage}.module_1", width)
            state |= draw.linear(f"{stage}.module_3", width, width)
    return state
