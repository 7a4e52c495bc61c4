"""Tasks of a table: what its columns of labels become in a model.

A verb and a noun are AR's, and LTA's where sequences are long enough. Every other column is a task
of its own, read like AR from a segment among its neighbours.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from model.data.tables.table import SegmentTable
from model.data.task_file import TAKEN
from model.errors import AnnotationInvalid
from model.tasks import AR, LTA, Readout, TaskSpec

MAX_NAME = 32
FORECAST = "next-"
"""Before the output that a forecast of other labels than verb and noun is of."""


@dataclass(frozen=True)
class TableTasks:
    """What is learnt from a table.

    Attributes:
        specs: task -> its row of the task table.
        prototypes: outputs whose combinations are the rows of the backpack.
    """

    specs: Mapping[str, TaskSpec]
    prototypes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks, in order."""
        return tuple(self.specs)

    @property
    def forecast(self) -> str | None:
        """The task that answers what comes next, if there is one."""
        futures = (t for t, spec in self.specs.items() if spec.readout is Readout.FUTURE)
        return next(futures, None)

    def without(self, task: str) -> "TableTasks":
        """Returns the others."""
        return replace(self, specs={t: spec for t, spec in self.specs.items() if t != task})

    def only(self, tasks: Sequence[str]) -> "TableTasks":
        """Returns some of them.

        Raises:
            AnnotationInvalid: there is no such task.
        """
        unknown = [task for task in tasks if task not in self.specs]
        if unknown:
            raise AnnotationInvalid(
                f"--tasks {' '.join(unknown)}: the tasks of this table are {', '.join(self.specs)}"
            )
        return replace(self, specs={t: spec for t, spec in self.specs.items() if t in tasks})


def name_outputs(columns: Sequence[str]) -> dict[str, str]:
    """Returns column -> output: a name that a task, a label space and a layer can have.

    Letters are small and without accents; what no name may hold is a hyphen.
    """
    names: dict[str, str] = {}
    for column in columns:
        plain = unicodedata.normalize("NFKD", column).encode("ascii", "ignore").decode()
        name = re.sub(r"[^a-z0-9_]+", "-", plain.lower()).strip("-")[:MAX_NAME]
        if not name[:1].isalpha():
            name = f"column-{name or len(names) + 1}"
        is_taken = name in TAKEN and name not in AR.outputs
        if is_taken or hasattr(nn.ModuleDict(), name):  # a layer of a module carries the name
            name = f"{name}-label"
        while name in names.values():
            name = f"{name}-2"
        names[column] = name
    return names


def with_names(table: SegmentTable, names: Mapping[str, str]) -> SegmentTable:
    """Returns the table with its columns called as outputs: column -> output."""
    return replace(table, labels={names[c]: values for c, values in table.labels.items()})


def tasks_of(table: SegmentTable, prototypes: Sequence[str] | None = None) -> TableTasks:
    """Returns the tasks of a table's outputs, a forecast among them.

    Args:
        table: its columns are called as outputs.
        prototypes: outputs of the backpack's rows; None takes verb and noun, or the only output.

    Raises:
        AnnotationInvalid: an output has one label only, there is no such output, or it is not clear
            which ones the backpack's rows are of.
    """
    outputs = table.outputs
    for name in outputs:
        if len(there := table.names(name)) < 2:
            raise AnnotationInvalid(
                f"{table.source}: all labels of {name} are {there[0]!r}, so there is nothing to "
                f"tell apart; name the columns to learn with --outputs"
            )
    acts = set(AR.outputs) <= set(outputs)
    rows = tuple(prototypes or (AR.outputs if acts else outputs))
    if unknown := [name for name in rows if name not in outputs]:
        raise AnnotationInvalid(
            f"--prototypes {' '.join(unknown)}: {table.source} has labels of {', '.join(outputs)}"
        )
    if prototypes is None and not acts and len(outputs) > 1:
        raise AnnotationInvalid(
            f"{table.source} has labels of {', '.join(outputs)} and not of verb and noun: name "
            f"what the rows of the backpack are of, such as --prototypes {outputs[0]}"
        )
    specs = [AR, LTA] if acts else []
    own = [name for name in outputs if not (acts and name in AR.outputs)]
    specs += [replace(AR, name=name, outputs=(name,)) for name in own]
    if not acts and len(rows) == 1:
        (name,) = name_outputs([f"{FORECAST}{rows[0]}"]).values()
        specs.append(replace(LTA, name=f"{name}-2" if name in outputs else name, outputs=rows))
    return TableTasks({spec.name: spec for spec in specs}, rows)
