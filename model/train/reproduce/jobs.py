"""Many trainings side by side, one process and core each, in the order they build on each other.

Each process prepares the data once. Every finished part and score lies on disk with the hash of
what it was made from: an interrupted run goes on, a changed setting redoes what it touches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from model.config import Learning
from model.evaluate.calibration import TaskModel, calibrate, collect_logits
from model.evaluate.scoring import Metrics, score_logits
from model.train.datasets.prepared import Prepared
from model.train.ledger import Ledger, stage_key
from model.train.methods.trainer import ALL_TASKS, Trainer, Training, needs_of
from model.train.pipeline import TrainingPipeline, plan

Prepare = Callable[[], tuple[Prepared, Learning]]


@dataclass(frozen=True)
class Job:
    """One part of one seed; `is_scored` parts answer tasks, the others only serve them."""

    part: Training
    seed: int
    is_scored: bool


@dataclass(frozen=True)
class Score:
    """Metrics of one part of one seed, split -> task -> metric -> value."""

    part: Training
    seed: int
    metrics: dict[str, Metrics]


def plan_jobs(
    parts: Sequence[Training], seeds: Sequence[int], tasks: tuple[str, ...] = ALL_TASKS
) -> list[Job]:
    """Returns everything to do, one seed after the other, each after what it needs."""
    wanted = set(parts)
    return [Job(part, seed, part in wanted) for seed in seeds for part in plan(parts, tasks)]


def run_jobs(
    jobs: Sequence[Job],
    prepare: Prepare,
    folder: Path,
    *,
    processes: int,
    device: str,
    tasks: tuple[str, ...] = ALL_TASKS,
) -> Iterator[tuple[Job, Score | None]]:
    """Carries jobs out and yields each as it is finished, with its score if it has one.

    Args:
        jobs: what to do; a job starts once the parts it needs are made.
        prepare: makes data and settings, once in each process.
        folder: where parts and scores are kept.
        processes: how many at once.
        device: where to train.
        tasks: all that take part.
    """
    waiting = list(jobs)
    done: set[tuple[Training, int]] = set()
    running: dict[Future[Score | None], Job] = {}
    pool = ProcessPoolExecutor(
        processes,
        get_context("spawn"),
        initializer=_start,
        initargs=(prepare, folder, device, tasks),
    )
    with pool:
        while waiting or running:
            ready = [
                j for j in waiting if all((n, j.seed) in done for n in needs_of(j.part, tasks))
            ]
            for job in ready[: processes - len(running)]:
                waiting.remove(job)
                running[pool.submit(_carry_out, job)] = job
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                score = future.result()
                done.add((job.part, job.seed))
                yield job, score


class _Worker:
    """What one process holds between jobs."""

    prepared: Prepared
    learning: Learning
    folder: Path
    device: str
    tasks: tuple[str, ...]


def _start(prepare: Prepare, folder: Path, device: str, tasks: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    _Worker.prepared, _Worker.learning = prepare()
    _Worker.folder, _Worker.device, _Worker.tasks = folder, device, tasks


def _carry_out(job: Job) -> Score | None:
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
    bench = TrainingPipeline(trainer, ledger, prepared.key)
    bench.tensors(job.part)
    if not job.is_scored:
        return None

    def score() -> dict[str, Metrics]:
        return score_models(bench.models([job.part]), prepared, learning, job.seed)

    key = stage_key(bench.key(job.part), sorted(prepared.samples))
    return Score(job.part, job.seed, ledger.value(f"{job.part.name}.scores", key, score))


def score_models(
    models: Mapping[str, TaskModel], prepared: Prepared, learning: Learning, seed: int
) -> dict[str, Metrics]:
    """Returns the metrics of every split whose truth is at hand; temperatures are fitted on val."""
    config, samples = learning.model, prepared.samples
    logits, labels = collect_logits(models, samples["val"], config)
    temperature = {name: c.temperature for name, c in calibrate(logits, labels).items()}
    metrics = {}
    for split in samples:
        if split == "train":
            continue
        if split != "val":
            logits, labels = collect_logits(models, samples[split], config)
        metrics[split] = score_logits(
            logits, labels, samples[split], config, temperature, seed=seed
        )
    return metrics
