"""Command line of `python -m model.score`: challenge files for Ego4D's unannotated test sets.

--bundle, --features and --out write lta.json, oscc.json and pnr.json; the same command resumes an
interrupted run. --check validates existing files, of any origin. With --truth (a generated world
has it) the metrics are computed as well.
Exit status: 0 all files are valid, 1 a file is not, 2 the input cannot be used.
"""

import hashlib
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from extract.cluster.session import absolute_place
from extract.errors import ExtractError
from extract.features.ids import as_id
from extract.features.store import FeatureStore
from model.data.annotations import DataRoot
from model.data.records import annotated_in
from model.errors import ModelError, ScoringRefused
from model.score.answering import ChallengeAnswerer
from model.score.cluster import Cluster, Recipe, Waiting
from model.score.features import FeatureSource
from model.score.grade import Metrics, grade
from model.score.options import ScoreOptions, parse_options
from model.score.prior import Prior
from model.score.progress_file import Facts, ProgressFile
from model.score.submission import ChallengeFile, report, write_submission
from model.score.test_set import (
    CHALLENGES,
    FIRST_OBSERVED,
    ChallengeItem,
    items_of,
    open_annotations,
    read_items,
)
from model.tasks import LTA
from weights.bundle import load_bundle
from weights.errors import WeightsError

PART_FOLDER = "parts"


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = parse_options(argv, __doc__)
    try:
        data = open_annotations(options.annotations, options.version)
        if options.check:
            return _check(options.check, data, options)
        return _score(data, options)
    except (ModelError, WeightsError, ExtractError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _score(data: DataRoot, options: ScoreOptions) -> int:
    records = data.read("test_unannotated", options.tasks)
    layouts = [
        _layout(data, task, items_of(records, task, observed=options.observed))
        for task in options.tasks
    ]
    bundle = load_bundle(options.bundle)
    make = partial(
        ChallengeAnswerer,
        seed=options.seed,
        future_temperature=options.future_temperature,
        future_choice=options.future_choice,
        batch_size=options.batch_size,
        device=options.device,
    )
    answerer = make(bundle)
    answerer.check_tasks(options.tasks)
    if LTA.name in options.tasks:
        answerer.check_labels(data.taxonomy)
    cluster = None
    if options.engine == "ray":
        places = absolute_place(options.bundle), bundle.sha256, absolute_place(options.features)
        recipe = Recipe(*places, make)
        cluster = Cluster(recipe, options.device != "cpu", options.address, options.actors)
    store = FeatureStore(options.features)
    facts: Facts = {
        "bundle": bundle.sha256,
        "features": store.address,
        "seed": options.seed,
        "future_temperature": answerer.config.future_temperature,
        "future_choice": answerer.config.future_choice,
        "batch_size": options.batch_size if answerer.depends_on_batch else None,
    }
    with ExitStack() as stack:
        parts = {}
        for layout in layouts:
            path = options.out / PART_FOLDER / f"{layout.task}.jsonl"
            header = {"task": layout.task, "questions": _digest(layout), **facts}
            parts[layout.task] = part = stack.enter_context(ProgressFile(path, header))
            if part.changed:
                changed = ", ".join(part.changed)
                print(f"{layout.task}: starts over, changed: {changed}", file=sys.stderr)
        waiting = unanswered(layouts, parts)
        source = FeatureSource(store, data, bundle, options.videos, options.device)
        goes_on = any(part.answers for part in parts.values())
        gone = source.fill(waiting, annotated_in(records), missing=options.missing, goes_on=goes_on)
        there = {video: items for video, items in waiting.items() if video not in gone}
        respond(answerer, there, parts, store, cluster=cluster)
        prior = Prior(bundle, seed=options.seed) if options.missing == "fill" else None
        sound = [_write(x, parts[x.task], gone, prior, options) for x in layouts]
    return 0 if all(sound) else 1


def read_layout(data: DataRoot, task: str, *, observed: int = FIRST_OBSERVED) -> ChallengeFile:
    """Returns the format of a task's file.

    Raises:
        AnnotationInvalid: a file is missing or malformed.
    """
    return _layout(data, task, read_items(data, task, observed=observed))


def _layout(data: DataRoot, task: str, items: list[ChallengeItem]) -> ChallengeFile:
    names = data.taxonomy if task == LTA.name else {}
    if not items:
        print(f"{task}: the test file asks for nothing", file=sys.stderr)
    return ChallengeFile(task, items, {space: len(n) for space, n in names.items()})


def unanswered(
    layouts: Sequence[ChallengeFile], parts: Mapping[str, ProgressFile]
) -> dict[str, dict[str, list[ChallengeItem]]]:
    """Returns the items without an answer, video -> task -> items, videos sorted.

    A video is answered whole or not at all, so that a batch does not depend on where an earlier
    run was interrupted.
    """
    waiting: dict[str, dict[str, list[ChallengeItem]]] = {}
    for layout in layouts:
        for item in layout.items:
            of_video = waiting.setdefault(item.video_uid, {})
            of_video.setdefault(layout.task, []).append(item)
    left = {}
    for video in sorted(waiting):
        open_tasks = {
            task: items
            for task, items in waiting[video].items()
            if any(q.id not in parts[task].answers for q in items)
        }
        if open_tasks:
            left[video] = open_tasks
    return left


def respond(
    answerer: ChallengeAnswerer,
    waiting: Waiting,
    parts: Mapping[str, ProgressFile],
    store: FeatureStore,
    *,
    cluster: Cluster | None = None,
) -> None:
    """Answers video by video, with one track in memory at a time, here or on a cluster."""
    total = sum(len(q) for of_video in waiting.values() for q in of_video.values())
    with tqdm(total=total, unit="answer", desc="score", disable=None) as bar:

        def keep(task: str, answers: Mapping[str, Any]) -> None:
            parts[task].add(answers)
            bar.update(len(answers))

        if cluster is not None:
            cluster.respond(waiting, keep)
            return
        for video, of_video in waiting.items():
            track = store.read(as_id(video))
            for task, items in of_video.items():
                keep(task, answerer.answer(task, items, track))


def _write(
    layout: ChallengeFile,
    part: ProgressFile,
    gone: Collection[str],
    prior: Prior | None,
    options: ScoreOptions,
) -> bool:
    """Writes a task's file; items of videos in `gone` take the prior's answer or are left out."""
    path = options.out / f"{layout.task}.json"
    items, answers = layout.items, part.answers
    unseen = [q for q in items if q.video_uid in gone and q.id not in answers]
    if prior is not None:
        answers = {**answers, **prior.answers(layout.task, unseen)}
    elif unseen:
        left_out = {item.id for item in unseen}
        layout = replace(layout, items=[q for q in items if q.id not in left_out])
    violations = write_submission(layout, answers, path)
    if violations:
        print(f"{path}: not written, {report(violations)}", file=sys.stderr)
        return False
    missing = _missing(layout.task, unseen, prior)
    _say_sound(path, layout, answers, options.truth, missing)
    return True


def _missing(task: str, items: Sequence[ChallengeItem], prior: Prior | None) -> Facts:
    """Reports items without features on standard error; returns their entry of the result."""
    if not items:
        return {}
    videos = sorted({item.video_uid for item in items})
    done = f"filled with a prior ({prior.source(task)})" if prior else "left out"
    print(
        f"{task}: {len(items)} answers are {done}: no features of {len(videos)} videos, "
        f"{', '.join(videos)}",
        file=sys.stderr,
    )
    facts = {"videos": videos, "entries": len(items)}
    return {"filled": {**facts, "with": prior.source(task)}} if prior else {"skipped": facts}


def _check(paths: Sequence[Path], data: DataRoot, options: ScoreOptions) -> int:
    sound = True
    for path in paths:
        task = path.stem if path.stem in CHALLENGES else None
        if task is None and len(options.tasks) == 1:
            task = options.tasks[0]
        if task is None:
            raise ScoringRefused(f"{path}: whose file is it? Say --tasks lta, oscc or pnr")
        layout = read_layout(data, task, observed=options.observed)
        answers, violations = layout.read(path)
        if violations:
            print(f"{path}: {report(violations)}", file=sys.stderr)
            sound = False
        else:
            _say_sound(path, layout, answers, options.truth)
    return 0 if sound else 1


def _say_sound(
    path: Path,
    layout: ChallengeFile,
    answers: Facts,
    truth: Path | None,
    missing: Facts | None = None,
) -> None:
    line: dict[str, object] = {
        "file": str(path),
        "task": layout.task,
        "entries": len(answers),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        **(missing or {}),
    }
    if truth is not None:
        metrics: Metrics = grade(layout.task, answers, DataRoot.find(truth))
        line["metrics"] = metrics
    print(json.dumps(line))


def _digest(layout: ChallengeFile) -> str:
    facts = (layout.items, sorted(layout.num_labels.items()))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
