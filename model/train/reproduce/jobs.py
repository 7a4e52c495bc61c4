"""Job scheduler of a reproduction: trainings in parallel processes, in topological order.

Each process prepares the data once. Finished parts and scores are cached by the hash of what they
depend on, so an interrupted run resumes and a changed setting redoes only what it affects.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.config import Learning
from model.evaluate.scoring import Metrics, PerSample
from model.train.assemble import score_splits
from model.train.datasets.prepared import Prepared
from model.train.ledger import Ledger, stage_key
from model.train.methods.trainer import ALL_TASKS, Trainer, Training, needs_of
from model.train.pipeline import TrainingPipeline, plan

Prepare = Callable[[], Prepared]


@dataclass(frozen=True)
class Job:
    """Training of one part with one seed; `is_scored` where its metrics are wanted."""

    part: Training
    seed: int
    is_scored: bool


@dataclass(frozen=True)
class Score:
    """Scores of one part of one seed.

    Attributes:
        part: what was trained.
        seed: of the training.
        metrics: split -> task -> metric -> value.
        values: split -> task -> metric -> (M,), in the order of the split's samples.
    """

    part: Training
    seed: int
    metrics: dict[str, Metrics]
    values: dict[str, PerSample] = field(default_factory=dict)


def plan_jobs(
    parts: Sequence[Training], seeds: Sequence[int], tasks: tuple[str, ...] = ALL_TASKS
) -> list[Job]:
    """Returns all jobs in topological order, one seed after the other."""
    wanted = set(parts)
    return [Job(part, seed, part in wanted) for seed in seeds for part in plan(parts, tasks)]


def run_jobs(
    jobs: Sequence[Job],
    prepare: Prepare,
    learning: Learning,
    folder: Path,
    *,
    processes: int,
    device: str,
    tasks: tuple[str, ...] = ALL_TASKS,
) -> Iterator[tuple[Job, Score | None]]:
    """Runs jobs and yields each as it is finished, with its score if it has one.

    Args:
        jobs: a job starts once the parts it needs are finished.
        prepare: returns the data, once in each process.
        learning: model and optimisation.
        folder: of the cached parts and scores.
        processes: jobs that run at once.
        device: "cpu", "cuda" or "cuda:N".
        tasks: all that take part.
    """
    waiting = list(jobs)
    done: set[tuple[Training, int]] = set()
    running: dict[Future[Score | None], Job] = {}
    pool = ProcessPoolExecutor(
        processes,
        get_context("spawn"),
        initializer=_start,
        initargs=(prepare, learning, folder, device, tasks),
    )
    with pool:
        while waiting or running:
            ready = [
                j for j in waiting if all((n, j.seed) in done for n in needs_of(j.part, tasks))
            ]
            for job in ready[: processes - len(running)]:
                waiting.remove(job)
                running[pool.submit(_run, job)] = job
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                score = future.result()
                done.add((job.part, job.seed))
                yield job, score


class _Worker:
    """State of one process between jobs."""

    prepared: Prepared
    learning: Learning
    folder: Path
    device: str
    tasks: tuple[str, ...]


def _start(
    prepare: Prepare, learning: Learning, folder: Path, device: str, tasks: tuple[str, ...]
) -> None:
    torch.set_num_threads(1)
    _Worker.prepared, _Worker.learning = prepare(), learning
    _Worker.folder, _Worker.device, _Worker.tasks = folder, device, tasks


def _run(job: Job) -> Score | None:
    prepared, learning = _Worker.prepared, _Worker.learning
    trainer = Trainer(
        prepared.samples["train"],
        prepared.num_labels,
        learning,
        job.seed,
        _Worker.device,
        progress=False,
        tasks=_Worker.tasks,
    )
    ledger = Ledger(_Worker.folder / f"seed-{job.seed}", {})
    pipeline = TrainingPipeline(trainer, ledger, prepared.key)
    pipeline.tensors(job.part)
    if not job.is_scored:
        return None

    def score() -> dict[str, Any]:
        models = pipeline.models([job.part])
        _, metrics, values = score_splits(models, prepared.samples, learning.model, seed=job.seed)
        return {"metrics": metrics, "values": _map_values(values, np.ndarray.tolist)}

    key = stage_key(pipeline.key(job.part), sorted(prepared.samples), "sample by sample")
    found = ledger.value(f"{job.part.name}.scores", key, score)
    values = _map_values(found["values"], lambda numbers: np.array(numbers, np.float64))
    return Score(job.part, job.seed, found["metrics"], values)


def _map_values(
    values: Mapping[str, Mapping[str, Mapping[str, Any]]], change: Callable[[Any], Any]
) -> dict[str, dict[str, dict[str, Any]]]:
    return {
        split: {
            task: {metric: change(v) for metric, v in metrics.items()}
            for task, metrics in tasks.items()
        }
        for split, tasks in values.items()
    }
