"""Answers as a Parquet table, a row an answer: for data frames and query engines."""

import io
from collections.abc import Iterable
from typing import Any

from clients.output.formats import spans_of
from clients.results.predictions import PredictionResult


def pyarrow() -> Any:
    """Returns pyarrow, with `pyarrow.parquet`.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError("Parquet needs the extra `parquet`: pip install pyarrow") from error
    return pyarrow


def to_parquet(answers: Iterable[tuple[str, PredictionResult]]) -> bytes:
    """Returns a table of (clip, task, label, start_s, end_s, confidence), in order.

    Args:
        answers: name of a clip, and its answer.
    """
    arrow = pyarrow()
    rows: list[dict[str, Any]] = []
    for name, result in answers:
        rows += [
            {"clip": name, "task": s.task, "label": s.label, "start_s": s.start_s,
             "end_s": s.end_s, "confidence": s.confidence}
            for s in spans_of(result)
        ]  # fmt: skip
    text, number = arrow.string(), arrow.float64()
    names = ("clip", "task", "label", "start_s", "end_s", "confidence")
    kinds = (text, text, text, number, number, number)
    schema = arrow.schema(list(zip(names, kinds, strict=True)))
    target = io.BytesIO()
    arrow.parquet.write_table(arrow.Table.from_pylist(rows, schema), target)
    return target.getvalue()
