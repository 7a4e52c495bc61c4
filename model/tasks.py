"""Task table: node sampling, graph connectivity, readout and label spaces, one row per task.

AR, LTA, OSCC and PNR (paper Sec. 4.1 and supplement A.1) are four rows of one table.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Sampling(StrEnum):
    """How a task's segments become nodes of S feature vectors."""

    ACTIONS = "actions"  # one node per segment
    UNIFORM = "uniform"  # one segment cut into equal parts, one node each
    INSTANTS = "instants"  # one segment sampled at equally spaced instants


class Readout(StrEnum):
    """Nodes whose features give a task's answer."""

    CENTRE = "centre"  # the middle node of each graph
    FUTURE = "future"  # every node after the observed ones
    GRAPH = "graph"  # element-wise maximum over the graph's nodes
    NODES = "nodes"  # every node


@dataclass(frozen=True)
class TaskSpec:
    """One task.

    Attributes:
        name: of the task in requests and bundles.
        sampling: how segments become nodes.
        readout: nodes that the answer is read from.
        num_segments: segments of a graph.
        num_nodes: nodes of a graph, future ones included.
        outputs: label spaces of the answer, in order; a node-level score has one label.
        reach: two nodes closer than this (in positions) are connected both ways.
        first_position: position of the first node in the positional encoding.
    """

    name: str
    sampling: Sampling
    readout: Readout
    num_segments: int
    num_nodes: int
    outputs: tuple[str, ...]
    reach: float = 1.5
    first_position: int = 0

    @property
    def num_future(self) -> int:
        """Nodes without input of their own (LTA's 20)."""
        return self.num_nodes - self.num_segments if self.readout is Readout.FUTURE else 0

    @property
    def answered(self) -> int:
        """Index of the segment that is labelled (AR's middle one), or of the last one observed."""
        return self.num_segments // 2 if self.readout is Readout.CENTRE else self.num_segments - 1

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is its inverse."""
        return {**asdict(self), "outputs": list(self.outputs)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TaskSpec":
        """Rebuilds a spec.

        Raises:
            TypeError: a key is unknown or missing.
            ValueError: a sampling or readout is unknown.
        """
        return cls(
            **{
                **values,
                "sampling": Sampling(values["sampling"]),
                "readout": Readout(values["readout"]),
                "outputs": tuple(values["outputs"]),
            }
        )


AR = TaskSpec(
    "ar", Sampling.ACTIONS, Readout.CENTRE, 9, 9, ("verb", "noun"), first_position=-4
)  # 9 nodes: larger than the receptive field of 3 layers (supplement A.1)
LTA = TaskSpec("lta", Sampling.ACTIONS, Readout.FUTURE, 2, 22, ("verb", "noun"))
OSCC = TaskSpec("oscc", Sampling.UNIFORM, Readout.GRAPH, 1, 4, ("state",))
PNR = TaskSpec("pnr", Sampling.INSTANTS, Readout.NODES, 1, 16, ("keyframe",))

TASKS = {spec.name: spec for spec in (AR, LTA, OSCC, PNR)}

IGNORE = -1
"""Label of a node without annotation: excluded from losses, prototypes, calibration and metrics."""

NUM_HYPOTHESES = 5
"""Futures sampled for LTA (K of Ego4D's edit distance)."""

FIXED_LABELS = {"state": ["no state change", "state change"], "keyframe": ["keyframe"]}
"""Label spaces that are in no taxonomy."""
