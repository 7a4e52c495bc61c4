"""Results of a split: figures with confidence intervals, baselines and published figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from model.config import ModelConfig
from model.data.missing import LEFT_OUT
from model.data.samples import Samples
from model.data.task_samples import Enumeration
from model.evaluate.metrics import batch_mean
from model.evaluate.paper import published
from model.evaluate.report.collect import TaskAnswers
from model.evaluate.report.confusion import Row
from model.evaluate.report.exhibits import ReportItem
from model.evaluate.report.intervals import Interval, Resample, interval
from model.evaluate.scoring import Metrics, PerSample, per_sample, summarise
from model.evaluate.unseen import baselines


@dataclass(frozen=True, eq=False)
class SplitResult:
    """Results of one split.

    Attributes:
        split: its name.
        columns: "model", "chance", "frequency", and "paper" if comparable.
        intervals: task -> metric -> 95 % interval of the model's figure.
        per_batch: means of batch means, if requested.
        exhibits: tables and figures.
        left_out: videos without features, whose samples are left out.
        forecasts: ways to forecast LTA's samples: name, choice and mean distances.
    """

    split: str
    columns: dict[str, Metrics]
    intervals: dict[str, dict[str, Interval | None]]
    per_batch: Metrics
    exhibits: list[ReportItem]
    left_out: Sequence[str] = ()
    forecasts: Sequence[dict[str, Any]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the exhibits."""
        return {**self.figures(), "intervals": self.intervals, "per_batch": self.per_batch}

    def figures(self) -> dict[str, Any]:
        """Returns the columns, and any videos left out."""
        left_out = {LEFT_OUT: list(self.left_out)} if self.left_out else {}
        forecasts = {"forecasts": list(self.forecasts)} if self.forecasts else {}
        return {**self.columns, **forecasts, **left_out}

    def rows(self) -> list[Row]:
        """Returns one line per metric: the figure, its interval and the other columns."""
        others = [name for name in self.columns if name != "model"]
        lines: list[Row] = []
        for task, metrics in self.columns["model"].items():
            for metric, value in metrics.items():
                bounds = self.intervals[task].get(metric)
                lines.append(
                    {
                        "task": task,
                        "metric": metric,
                        "value": value,
                        "low": bounds.low if bounds else None,
                        "high": bounds.high if bounds else None,
                        **{c: self.columns[c].get(task, {}).get(metric) for c in others},
                        "samples": int(metrics["samples"]),
                    }
                )
        return [line for line in lines if line["metric"] != "samples"]


@dataclass(frozen=True)
class MeasureConfig:
    """Configuration of the measurement of a split.

    Attributes:
        config: of the model.
        temperature: "task.output" -> temperature.
        seed: of LTA's sampled futures and of the bootstrap.
        resample: unit of the bootstrap: whole videos, or single samples.
        per_batch: batch size of means of batch means; None for none.
        beside_paper: whether the paper's figures are comparable.
        lta_windows: enumeration of LTA windows.
    """

    config: ModelConfig
    temperature: Mapping[str, float]
    seed: int = 0
    resample: Resample = "video"
    per_batch: int | None = None
    beside_paper: bool = False
    lta_windows: Enumeration = "current"


def measure(
    split: str,
    answers: Mapping[str, TaskAnswers],
    samples: Mapping[str, Samples],
    train: Mapping[str, Samples],
    how: MeasureConfig,
    exhibits: list[ReportItem],
    drawn: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> SplitResult:
    """Returns the figures of a split.

    Args:
        split: its name.
        answers: task -> answers of its skill.
        samples: task -> the split's samples, in the order of the answers.
        train: task -> training samples, for the baselines.
        how: configuration.
        exhibits: tables and figures for the report.
        drawn: task -> output -> futures drawn elsewhere than from the answers' logits.
    """
    logits = {task: given.logits for task, given in answers.items()}
    labels = {task: given.labels for task, given in answers.items()}
    temperature = how.temperature
    values = per_sample(logits, labels, samples, how.config, seed=how.seed, drawn=drawn)
    columns = {
        "model": summarise(values, logits, labels, samples, temperature),
        **baselines(train, samples, keyframe_rate=how.config.keyframe_rate),
    }
    if how.beside_paper and (figures := published(split, how.lta_windows)):
        columns["paper"] = figures
    return SplitResult(
        split=split,
        columns=columns,
        intervals=_intervals(values, samples, how),
        per_batch=_per_batch(values, how.per_batch),
        exhibits=exhibits,
    )


def _intervals(
    values: PerSample, samples: Mapping[str, Samples], how: MeasureConfig
) -> dict[str, dict[str, Interval | None]]:
    found: dict[str, dict[str, Interval | None]] = {}
    for task, metrics in values.items():
        groups = samples[task].video_offset.numpy()  # a video's first row identifies it
        if how.resample == "sample":
            groups = np.arange(len(groups))
        found[task] = {
            name: interval(v[is_known], groups[is_known], seed=how.seed)
            for name, v in metrics.items()
            if (is_known := ~np.isnan(v)).any()
        }
    return found


def _per_batch(values: PerSample, size: int | None) -> Metrics:
    if size is None:
        return {}
    return {
        task: {name: batch_mean(v, size) for name, v in metrics.items() if not np.isnan(v).all()}
        for task, metrics in values.items()
    }
