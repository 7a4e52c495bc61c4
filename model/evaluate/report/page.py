"""Self-contained HTML page of the results of a run."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape

from model.evaluate.report.confusion import Row
from model.evaluate.report.exhibits import ReportItem
from model.evaluate.report.results import SplitResult
from model.evaluate.tables import arrow, format_value

HEADLINES = ("verb_top1", "noun_top1", "accuracy", "error_s", "verb_ed", "noun_ed")
_WORDS = {"top1": "top 1", "top5": "top 5", "ece": "calibration error", "ed": "ED", "aued": "AUED"}
_UNIT = "_s"
_WIDE_S = 2.0  # upper end of the page's small charts of keyframe errors


@dataclass(frozen=True)
class RunFacts:
    """Facts of a run.

    Attributes:
        name: of the bundle.
        version: of the bundle.
        sha256: of the bundle.
        data: of the bundle's training.
        command: that repeats the run.
        resample: unit of the bootstrap.
        note: at the top of the page.
    """

    name: str
    version: str
    sha256: str
    data: str
    command: str
    resample: str
    note: str = ""


def render(facts: RunFacts, splits: Sequence[SplitResult], pictures: dict[str, bytes]) -> str:
    """Returns the page.

    Args:
        facts: of the run.
        splits: in order.
        pictures: "split/exhibit" -> PNG.
    """
    return _template("page.html.j2").render(
        facts=facts,
        splits=splits,
        pictures=_inlined(pictures),
        headlines=HEADLINES,
        sections=_sections,
        title=_title,
    )


def render_tables(
    title: str,
    facts: Sequence[str],
    note: str,
    tables: Sequence[Any],
    exhibits: Sequence[ReportItem],
    pictures: dict[str, bytes],
) -> str:
    """Returns a page of tables and figures.

    Args:
        title: heading.
        facts: lines on the run.
        note: at the top of the page.
        tables: each with `title`, `columns` and `lines` of cells (`text`, `is_best`).
        exhibits: figures after the tables.
        pictures: exhibit -> PNG.
    """
    return _template("tables.html.j2").render(
        title=title,
        facts=facts,
        note=note,
        tables=tables,
        exhibits=[e for e in exhibits if e.name in pictures],
        pictures=_inlined(pictures),
    )


def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": format_value, "arrow": arrow, "cell": _cell, "place": _place}
    return environment.get_template(name)


def _inlined(pictures: dict[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(data).decode() for name, data in pictures.items()}


def _sections(exhibits: list[ReportItem]) -> Iterator[tuple[str, list[ReportItem]]]:
    for section, group in groupby(exhibits, key=lambda e: e.section):
        yield section, list(group)


def _title(metric: str) -> str:
    """`verb_top1` as "verb top 1"."""
    words = metric.removesuffix(_UNIT).split("_")
    return " ".join(_WORDS.get(word, word) for word in words)


def _place(row: Row, key: str) -> float | None:
    """Position of a figure on its row's scale, in per cent of its width."""
    value: Any = row.get(key)
    if value is None:
        return None
    whole = _WIDE_S if str(row["metric"]).endswith(_UNIT) else 1.0
    return 100 * min(max(float(value) / whole, 0.0), 1.0)


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
