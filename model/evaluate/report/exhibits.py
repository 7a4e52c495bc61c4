"""Exhibits of a report: tables, most with a figure, from the answers of a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.data.samples import Samples
from model.evaluate.calibration import competing
from model.evaluate.metrics import Reliability, calibration_error, reliability
from model.evaluate.report import agreement as perspectives
from model.evaluate.report import confusion as classes
from model.evaluate.report import figures
from model.evaluate.report.collect import FUSED, TaskAnswers
from model.evaluate.report.confusion import Row
from model.evaluate.scoring import ONE_CLASS
from model.nn.backpack import Backpack
from model.tasks import IGNORE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LabelSpaces = Mapping[str, Sequence[str]]
SHOWN_CLASSES = 12
SHOWN_PROTOTYPES = 15


@dataclass(frozen=True, eq=False)
class ReportItem:
    """One exhibit of a report.

    Attributes:
        name: file stem of its table and figure.
        section: heading above it.
        title: of the exhibit.
        caption: explanation below the title.
        rows: the table.
        figure: of the same numbers.
        lines: number of the table's lines on the page.
        large: whether it takes the page's whole width.
    """

    name: str
    section: str
    title: str
    caption: str
    rows: list[Row]
    figure: Figure | None = None
    lines: int = 0
    large: bool = False


def calibration_exhibits(
    answers: Mapping[str, TaskAnswers], temperature: Mapping[str, float]
) -> Iterator[ReportItem]:
    """Yields the calibration of every output, before and after its temperature."""
    table: list[Row] = []
    diagrams = []
    for task, given in answers.items():
        for output, logits in given.logits.items():
            name = f"{task}.{output}"
            rows, truth = competing(logits, given.labels[output])
            t = temperature.get(name, 1.0)
            before, after = rows.softmax(dim=1), (rows / t).softmax(dim=1)
            table.append(
                {
                    "output": name,
                    "temperature": t,
                    "ece_before": calibration_error(before, truth),
                    "ece_after": calibration_error(after, truth),
                    "answers": len(truth),
                }
            )
            diagrams.append(
                _diagram(name, reliability(before, truth), reliability(after, truth), t)
            )
    yield ReportItem(
        "calibration",
        "Calibration",
        "Expected calibration error",
        "Before and after each output's temperature. It was fitted on the bundle's val, where the "
        "error after it is therefore optimistic.",
        table,
        lines=len(table),
    )
    yield from diagrams


def _diagram(name: str, before: Reliability, after: Reliability, temperature: float) -> ReportItem:
    bins: list[Row] = [
        {
            "temperature": shown,
            "bin": place,
            "answers": int(curve.count[place]),
            "confidence": _number(curve.confidence[place]),
            "accuracy": _number(curve.accuracy[place]),
        }
        for shown, curve in ((1.0, before), (temperature, after))
        for place in range(len(curve.count))
    ]
    return ReportItem(
        f"reliability-{name}",
        "Calibration",
        f"Reliability of {name}",
        "On the dashed line a probability means what it says. Dots grow with answers.",
        bins,
        figures.reliability_figure(before, after, temperature=temperature),
    )


def class_exhibits(
    answers: Mapping[str, TaskAnswers], samples: Mapping[str, Samples], labels: LabelSpaces
) -> Iterator[ReportItem]:
    """Yields confusion and scores per class, of outputs with one class per sample."""
    for task, output, given in _one_class(answers, samples):
        name, names = f"{task}.{output}", labels[output]
        known = given.labels[output][:, 0] != IGNORE
        truth, decided = (
            t[known, 0].numpy() for t in (given.labels[output], given.decisions[output][FUSED])
        )
        counts = classes.confusion(truth, decided, len(names))
        small, shown = classes.largest(counts, names)
        yield ReportItem(
            f"confusion-{name}",
            "Classes",
            f"Confusion of {name}",
            "Per cent of each true class, largest classes first (Fig. 6).",
            classes.matrix_rows(small, shown),
            figures.confusion_figure(small, shown),
            large=len(shown) > SHOWN_CLASSES,
        )
        by_support = sorted(
            classes.class_rows(counts, names), key=lambda r: -int(r["support"] or 0)
        )
        yield ReportItem(
            f"classes-{name}",
            "Classes",
            f"Classes of {name}",
            "Largest classes first.",
            by_support,
            lines=20,
        )
        yield ReportItem(
            f"confused-{name}",
            "Classes",
            f"Most confused of {name}",
            "Most frequent mistakes first.",
            classes.confused_pairs(counts, names),
            lines=10,
        )


def agreement_exhibits(answers: Mapping[str, TaskAnswers]) -> Iterator[ReportItem]:
    """Yields the agreement of each perspective's vote with the others and the decision."""
    table: list[Row] = []
    panels = {}
    for task, given in answers.items():
        for output, decisions in given.decisions.items():
            if len(decisions) <= 2:  # own and fused alone
                continue
            shares, votes = perspectives.agreement(decisions), list(decisions)
            panels[f"{task}.{output}"] = (votes, shares)
            table += perspectives.agreement_rows(task, output, votes, shares)
    if panels:
        yield ReportItem(
            "agreement",
            "Perspectives",
            "Agreement between perspectives",
            "Per cent of answers on which two votes decide the same (Fig. 7).",
            table,
            figures.agreement_figure(panels),
            large=True,
        )


def closest_exhibits(
    answers: Mapping[str, TaskAnswers],
    samples: Mapping[str, Samples],
    backpacks: Mapping[str, Backpack],
    labels: LabelSpaces,
) -> Iterator[ReportItem]:
    """Yields the prototypes that each class retrieves, per perspective (Fig. 5).

    Args:
        answers: task -> answers.
        samples: task -> samples.
        backpacks: task -> backpack of its retrievals.
        labels: label space -> names.
    """
    for task, output, given in _one_class(answers, samples):
        if not given.rows:
            continue
        backpack, known = backpacks[task], given.labels[output][:, 0] != IGNORE
        truth, sizes = given.labels[output][known, 0], (len(labels[output]), len(backpack.count))
        counts = {
            view: perspectives.retrieved(rows[known], truth, *sizes)
            for view, rows in given.rows.items()
        }
        table: list[Row] = []
        for view, found in counts.items():
            table += perspectives.retrieved_rows(found, view, labels[output], backpack, labels)
        space = output if output in backpack.labels else next(iter(backpack.labels))
        yield ReportItem(
            f"closest-{task}.{output}",
            "Perspectives",
            f"Closest prototypes by {output}, for {task}",
            f"Per cent of the prototypes a class retrieves, grouped by their {space} (Fig. 5).",
            table,
            _closest_figure(counts, truth, output, space, backpack, labels),
            large=True,
        )


def _closest_figure(
    counts: Mapping[str, NDArray[np.int64]],
    truth: Tensor,
    output: str,
    space: str,
    backpack: Backpack,
    labels: LabelSpaces,
) -> Figure:
    """Two classes as bars; more as a matrix of the most frequent.

    Only the figure is cut: the table has the prototypes of every class.
    """
    names = labels[space]
    group = backpack.labels[space]
    by_group = {v: perspectives.grouped(c, group, len(names)) for v, c in counts.items()}
    support = truth.bincount(minlength=len(labels[output])).numpy()
    contrast = len(labels[output]) == 2
    rows = [0, 1] if contrast else _most(support, SHOWN_CLASSES)
    total = np.sum([c.sum(axis=0) for c in by_group.values()], axis=0)
    columns = rows if space == output else _most(total, SHOWN_PROTOTYPES)
    panels = {view: _shares(found)[rows][:, columns] for view, found in by_group.items()}
    shown = [labels[output][i] for i in rows]
    if contrast:
        return figures.contrast_figure(panels, shown, [names[i] for i in columns])
    return figures.closest_figure(panels, shown, [names[i] for i in columns])


def _one_class(
    answers: Mapping[str, TaskAnswers], samples: Mapping[str, Samples]
) -> Iterator[tuple[str, str, TaskAnswers]]:
    for task, given in answers.items():
        if samples[task].spec.readout in ONE_CLASS:
            for output in given.logits:
                yield task, output, given


def _most(counts: NDArray[np.int64], top: int) -> list[int]:
    """The largest counts that are not zero, largest first."""
    order = np.argsort(-counts, kind="stable")[:top]
    return [int(i) for i in order if counts[i]]


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
