"""python -m model.score: answers for Ego4D's unannotated test files, as challenge files.

--bundle, --features and --out write lta.json, oscc.json and pnr.json; rerun the command after an
interruption and it goes on. --check looks at files made by anyone. With --truth (a generated
world has it) the files are scored as well.
Exit status: 0 all files are sound, 1 a file is not, 2 what was given cannot be used.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
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
from model.score.options import parse_options
from model.score.prior import Prior
from model.score.progress_file import Facts, ProgressFile
from model.score.submission import Layout, report, write_submission
from model.score.test_set import (
    CHALLENGES,
    FIRST_OBSERVED,
    ChallengeItem,
    open_annotations,
    questions_of,
    read_questions,
)
from model.tasks import LTA
from weights.bundle import Bundle, load_bundle
from weights.errors import WeightsError

PART_FOLDER = "parts"


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    arguments = parse_options(argv, __doc__)
    try:
        data = open_annotations(arguments.annotations, arguments.version)
        if arguments.check:
            return _check(arguments.check, data, arguments)
        return _score(data, arguments)
    except (ModelError, WeightsError, ExtractError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _score(data: DataRoot, arguments: argparse.Namespace) -> int:
    records = data.read("test_unannotated", arguments.tasks)
    layouts = [
        _layout(data, task, questions_of(records, task, observed=arguments.observed))
        for task in arguments.tasks
    ]
    bundle = load_bundle(arguments.bundle)
    responder = ChallengeAnswerer(
        bundle,
        seed=arguments.seed,
        future_temperature=arguments.future_temperature,
        batch_size=arguments.batch_size,
        device=arguments.device,
    )
    responder.check_tasks(arguments.tasks)
    if LTA.name in arguments.tasks:
        responder.check_labels(data.taxonomy())
    store = FeatureStore(arguments.features)
    facts: Facts = {
        "bundle": bundle.sha256,
        "features": store.address,
        "seed": arguments.seed,
        "future_temperature": responder.config.future_temperature,
        "batch_size": arguments.batch_size if responder.depends_on_batch else None,
    }
    with ExitStack() as stack:
        parts = {}
        for layout in layouts:
            path = arguments.out / PART_FOLDER / f"{layout.task}.jsonl"
            header = {"task": layout.task, "questions": _digest(layout), **facts}
            parts[layout.task] = part = stack.enter_context(ProgressFile(path, header))
            if part.changed:
                changed = ", ".join(part.changed)
                print(f"{layout.task}: starts over, changed: {changed}", file=sys.stderr)
        waiting = unanswered(layouts, parts)
        source = FeatureSource(store, data, bundle, arguments.videos, arguments.device)
        goes_on = any(part.answers for part in parts.values())
        gone = source.fill(
            waiting, annotated_in(records), missing=arguments.missing, goes_on=goes_on
        )
        there = {video: asked for video, asked in waiting.items() if video not in gone}
        respond(responder, there, parts, store, cluster=_cluster(bundle, arguments))
        prior = Prior(bundle, seed=arguments.seed) if arguments.missing == "fill" else None
        sound = [_write(x, parts[x.task], gone, prior, arguments) for x in layouts]
    return 0 if all(sound) else 1


def read_layout(data: DataRoot, task: str, *, observed: int = FIRST_OBSERVED) -> Layout:
    """Returns what a task's file must hold.

    Raises:
        AnnotationInvalid: a file is missing or malformed.
    """
    return _layout(data, task, read_questions(data, task, observed=observed))


def _layout(data: DataRoot, task: str, questions: list[ChallengeItem]) -> Layout:
    names = data.taxonomy() if task == LTA.name else {}
    if not questions:
        print(f"{task}: the test file asks for nothing", file=sys.stderr)
    return Layout(task, questions, {space: len(n) for space, n in names.items()})


def unanswered(
    layouts: Sequence[Layout], parts: Mapping[str, ProgressFile]
) -> dict[str, dict[str, list[ChallengeItem]]]:
    """Returns what is left to answer, video -> task -> questions, videos sorted.

    A video is answered whole or not at all, so that a batch does not depend on where an earlier
    run was interrupted.
    """
    waiting: dict[str, dict[str, list[ChallengeItem]]] = {}
    for layout in layouts:
        for question in layout.questions:
            of_video = waiting.setdefault(question.video_uid, {})
            of_video.setdefault(layout.task, []).append(question)
    left = {}
    for video in sorted(waiting):
        open_tasks = {
            task: questions
            for task, questions in waiting[video].items()
            if any(q.id not in parts[task].answers for q in questions)
        }
        if open_tasks:
            left[video] = open_tasks
    return left


def respond(
    responder: ChallengeAnswerer,
    waiting: Waiting,
    parts: Mapping[str, ProgressFile],
    store: FeatureStore,
    *,
    cluster: Cluster | None = None,
) -> None:
    """Answers video by video, so that one track is in memory at a time, here or on a cluster."""
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
            for task, questions in of_video.items():
                keep(task, responder.answer(task, questions, track))


def _cluster(bundle: Bundle, arguments: argparse.Namespace) -> Cluster | None:
    if arguments.engine == "local":
        return None
    recipe = Recipe(
        absolute_place(arguments.bundle),
        bundle.sha256,
        absolute_place(arguments.features),
        seed=arguments.seed,
        future_temperature=arguments.future_temperature,
        batch_size=arguments.batch_size,
        device=arguments.device,
    )
    return Cluster(recipe, arguments.address, arguments.actors)


def _write(
    layout: Layout,
    part: ProgressFile,
    gone: Collection[str],
    prior: Prior | None,
    arguments: argparse.Namespace,
) -> bool:
    """Writes a task's file; of videos that are gone, a prior answers, or nothing is in it."""
    path = arguments.out / layout.file_name
    questions, answers = layout.questions, part.answers
    open_questions = [q for q in questions if q.video_uid in gone and q.id not in answers]
    if prior is not None:
        answers = {**answers, **prior.answers(layout.task, open_questions)}
    elif open_questions:
        left_out = {question.id for question in open_questions}
        layout = replace(layout, questions=[q for q in questions if q.id not in left_out])
    problems = write_submission(layout, answers, path)
    if problems:
        print(f"{path}: not written, {report(problems)}", file=sys.stderr)
        return False
    missing = _missing(layout.task, open_questions, prior)
    _say_sound(path, layout, answers, arguments.truth, missing)
    return True


def _missing(task: str, questions: Sequence[ChallengeItem], prior: Prior | None) -> Facts:
    """Says on standard error what was not looked at, and returns what the result says of it."""
    if not questions:
        return {}
    videos = sorted({question.video_uid for question in questions})
    done = f"filled with a prior ({prior.source(task)})" if prior else "left out"
    print(
        f"{task}: {len(questions)} answers are {done}: no features of {len(videos)} videos, "
        f"{', '.join(videos)}",
        file=sys.stderr,
    )
    facts = {"videos": videos, "entries": len(questions)}
    return {"filled": {**facts, "with": prior.source(task)}} if prior else {"skipped": facts}


def _check(paths: Sequence[Path], data: DataRoot, arguments: argparse.Namespace) -> int:
    sound = True
    for path in paths:
        task = path.stem if path.stem in CHALLENGES else None
        if task is None and len(arguments.tasks) == 1:
            task = arguments.tasks[0]
        if task is None:
            raise ScoringRefused(f"{path}: whose file is it? Say --tasks lta, oscc or pnr")
        layout = read_layout(data, task, observed=arguments.observed)
        answers, problems = layout.read(path)
        if problems:
            print(f"{path}: {report(problems)}", file=sys.stderr)
            sound = False
        else:
            _say_sound(path, layout, answers, arguments.truth)
    return 0 if sound else 1


def _say_sound(
    path: Path, layout: Layout, answers: Facts, truth: Path | None, missing: Facts | None = None
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


def _digest(layout: Layout) -> str:
    facts = (layout.questions, sorted(layout.num_labels.items()))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
