"""Layouts: tensor names of the authors' checkpoints -> our names and the expected shapes.

A layout follows from the sizes alone: a checkpoint has exactly these tensors, or it is refused
with the first name that differs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from weights.authors.checkpoint import Entry

OUTPUTS = {
    "ar": ("verb", "noun"),
    "oscc": ("state",),
    "lta": ("verb", "noun"),
    "pnr": ("keyframe",),
}
"""Task -> its label spaces, in the order of the authors' classifiers."""

PARTS = {"ar": "task/recognition", "oscc": "task/oscc", "lta": "task/lta", "pnr": "task/pnr"}
"""Task -> the entry of a checkpoint that holds its head; inside, AR is called "ar"."""

FREQUENCY = "positional_encoding.frequency"
"""A buffer, (D/2,): our positions have the same frequencies, so it is checked and not kept."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model, read off a checkpoint's shapes.

    Attributes:
        input_size: D_in.
        hidden_size: D.
        vectors_per_node: S.
        num_layers: temporal layers; none at all is the MLP baseline.
        interaction_layers: rounds of eq. 3; 0 without a backpack.
        num_labels: label space -> number of labels.
    """

    input_size: int
    hidden_size: int
    vectors_per_node: int
    num_layers: int
    interaction_layers: int
    num_labels: dict[str, int]


@dataclass(frozen=True)
class Slot:
    """Our name of one tensor, and its expected shape."""

    name: str
    shape: tuple[int, ...]


Layout = dict[str, Slot]


def backbone_layout(sizes: Sizes) -> Layout:
    """Returns the layout of `temporal_graph`; names here are those of `MultiTaskModel`."""
    width = sizes.hidden_size
    trn, pooling = "temporal_pooling.proj", "backbone.pooling.layers"
    layout = {FREQUENCY: Slot("", (width // 2,))}
    layout |= _linear(f"{trn}.0", f"{pooling}.0", width, sizes.vectors_per_node * sizes.input_size)
    layout |= _norm(f"{trn}.1", f"{pooling}.1", width)
    layout |= _linear(f"{trn}.4", f"{pooling}.4", width, width)
    layout |= _norm(f"{trn}.5", f"{pooling}.5", width)
    layout |= _linear(f"{trn}.8", f"{pooling}.8", width, width)
    for layer in range(sizes.num_layers):  # convolution, norm, LeakyReLU: numbered through
        there, here = f"net.module_{3 * layer}", f"backbone.convs.{layer}"
        layout |= _linear(f"{there}.lin", f"{here}.lin", width, width)
        layout |= _linear(f"{there}.lin_l", f"{here}.lin_l", width, width)
        layout |= _linear(f"{there}.lin_r", f"{here}.lin_r", width, width, bias=False)
        layout |= _norm(f"net.module_{3 * layer + 1}", f"backbone.norms.{layer}", width)
    if sizes.num_layers:
        layout |= _linear(f"net.module_{3 * sizes.num_layers}", "backbone.last", width, width)
    return layout


def head_layout(task: str, voters: Iterable[str], sizes: Sizes) -> Layout:
    """Returns the layout of one task's entry; names here are those of `Skill`.

    `voters` are the tasks whose perspectives its auxiliary classifiers take.
    """
    width = sizes.hidden_size
    layout = _linear("net.1", "head.layers.0", width, width)
    layout |= _norm("net.2", "head.layers.1", width)
    layout |= _linear("net.4", "head.layers.3", width, width)
    outputs = OUTPUTS[task]
    own = "classifier" if len(outputs) == 1 else "classifiers"
    for index, output in enumerate(outputs):
        place = "1" if len(outputs) == 1 else f"{index}.1"  # 0 is the dropout before it
        labels = sizes.num_labels[output]
        layout |= _linear(f"{own}.{place}", f"classifier.outputs.{output}", labels, width)
        for voter in voters:
            there, here = f"aux_classifiers.{voter}.{place}", f"voters.{voter}.outputs.{output}"
            layout |= _linear(there, here, labels, width)
    return layout


def interaction_layout(known: Iterable[str], num_prototypes: int, sizes: Sizes) -> Layout:
    """Returns the layout of `graphone`; prototypes here are named "prototypes.<task>".

    `known` are the tasks that have prototypes, `num_prototypes` (P) of each.
    """
    width = sizes.hidden_size
    layout = {}
    for task in known:
        layout[f"embeddings.{task}.weight"] = Slot(f"prototypes.{task}", (num_prototypes, width))
        for layer in range(sizes.interaction_layers):
            there, here = f"conv_stages.{task}.{layer}", f"interactions.{task}.layers.{layer}"
            layout |= _linear(
                f"{there}.module_0.lin_l", f"{here}.neighbours", width, width, bias=False
            )
            layout |= _linear(f"{there}.module_0.lin_r", f"{here}.root", width, width, bias=False)
            layout |= _norm(f"{there}.module_1", f"{here}.refine.0", width)
            layout |= _linear(f"{there}.module_3", f"{here}.refine.2", width, width)
    return layout


def translate(entry: Entry, layout: Layout) -> dict[str, Tensor]:
    """Returns an entry's tensors under our names, in float32.

    Raises:
        CheckpointInvalid: a tensor is missing, unknown, of another shape, or not finite.
    """
    for name in sorted(layout.keys() | entry.tensors.keys()):
        slot, tensor = layout.get(name), entry.tensors.get(name)
        if slot is None:
            raise entry.error(f"unknown tensor {name}")
        if tensor is None:
            raise entry.error(f"no tensor {name} of shape {slot.shape}")
        if tuple(tensor.shape) != slot.shape:
            raise entry.error(
                f"{name} should be of shape {slot.shape}, is of {tuple(tensor.shape)}"
            )
        if not tensor.isfinite().all():
            raise entry.error(f"{name} holds values that are not finite")
    return {s.name: entry.tensors[old].float().clone() for old, s in layout.items() if s.name}


def _linear(there: str, here: str, rows: int, columns: int, *, bias: bool = True) -> Layout:
    layout = {f"{there}.weight": Slot(f"{here}.weight", (rows, columns))}
    return layout | ({f"{there}.bias": Slot(f"{here}.bias", (rows,))} if bias else {})


def _norm(there: str, here: str, width: int) -> Layout:
    return {f"{there}.{name}": Slot(f"{here}.{name}", (width,)) for name in ("weight", "bias")}
