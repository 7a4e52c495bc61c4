"""Answers as Parquet: the rows of the CSV, typed."""

import io

import pandas
import pytest

from clients.__main__ import EXIT_USAGE, main
from clients.output.formats import spans_of
from clients.output.parquet import pyarrow, to_parquet
from clients.results.predictions import PredictionResult
from tests.clients.support.live import RESULT


def test_a_row_is_an_answer():
    result = PredictionResult.from_dict(RESULT)
    table = pandas.read_parquet(io.BytesIO(to_parquet([("a b.mp4", result), ("=c", result)])))
    assert list(table.columns) == ["clip", "task", "label", "start_s", "end_s", "confidence"]
    assert table["clip"].tolist() == ["a b.mp4", "=c"]
    (span,) = spans_of(result)
    assert table.iloc[0].tolist()[1:] == [
        span.task, span.label, span.start_s, span.end_s, span.confidence,
    ]  # fmt: skip


def test_no_answer_is_a_table_without_rows():
    table = pandas.read_parquet(io.BytesIO(to_parquet([])))
    assert table.empty
    assert str(table["start_s"].dtype) == "float64"


def test_what_is_missing_is_said(monkeypatch, capsys):
    assert main(["export", "parquet", "a.mp4"]) == EXIT_USAGE
    assert "name a file with --out" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ValueError, match="the extra `parquet`"):
        pyarrow()
