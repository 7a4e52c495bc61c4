"""Sub-command `lerobot`: sub-tasks for every episode of a LeRobot data set, resumable."""

import argparse
import dataclasses
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from clients.client import EgoPackClient
from clients.commands import arguments
from clients.errors import BadClip, NeedsJob, Rejected, ServerFault
from clients.lerobot import Episode, LeRobotDataset, cut, segments_of
from clients.output.files import write_whole
from clients.results.predictions import PredictionResult

EXIT_SOME_FAILED = 3
ANSWERS = "answers"


class Options(arguments.ServerOptions):
    """Parsed flags."""

    dataset: Path
    out: Path
    camera: str | None
    segment_s: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's flags."""
    parser.add_argument("dataset", type=Path, help="folder of a LeRobot data set, v3")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder to write: the data set with sub-tasks, its videos linked, and an answer an "
        "episode; run again, it goes on",
    )
    parser.add_argument(
        "--camera", metavar="KEY", help="video to look at; default: the only one it has"
    )
    parser.add_argument(
        "--segment-s",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="length of a sub-task; neighbours with the same name are one; default: %(default)s",
    )
    arguments.add_server(parser)


def run(options: Options) -> int:
    """Asks about every episode without an answer, then writes the data set.

    Returns the exit status: 3 if some episodes have no answer; their rows have index -1.
    """
    if not options.segment_s > 0:
        raise ValueError("--segment-s is more than 0")
    dataset = LeRobotDataset(options.dataset, options.camera)
    episodes = dataset.episodes()
    answers: dict[int, PredictionResult] = {}
    with arguments.connect(options.url) as client:
        for episode in tqdm(episodes, unit="episode", disable=None):
            kept = options.out / ANSWERS / f"episode_{episode.index:06d}.json"
            try:
                answers[episode.index] = _kept(kept) or _ask(client, episode, options, kept)
            except (BadClip, OSError) as error:
                tqdm.write(f"episode {episode.index}: {error}", file=sys.stderr)
    names = dataset.write_labelled(options.out, answers)
    print(
        f"{len(answers)} of {len(episodes)} episodes answered, {len(names)} sub-tasks: "
        f"{options.out / 'meta' / 'subtasks.parquet'}",
        file=sys.stderr,
    )
    return 0 if len(answers) == len(episodes) else EXIT_SOME_FAILED


def _kept(path: Path) -> PredictionResult | None:
    """The answer of an earlier run; None if there is none that can be read."""
    try:
        return PredictionResult.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, ServerFault):
        return None


def _ask(client: EgoPackClient, episode: Episode, options: Options, kept: Path) -> PredictionResult:
    """Returns and keeps the answer, its times counted from the episode's beginning."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / episode.name
        before_s = cut(episode, clip)
        wanted = segments_of(episode, before_s, options.segment_s)
        found = _answer(client, clip, wanted)
    moved = [
        replace(s, start_s=max(0.0, s.start_s - before_s), end_s=s.end_s - before_s)
        for s in found.segments
    ]
    result = replace(found, segments=moved)
    write_whole(kept, json.dumps(dataclasses.asdict(result), indent=1) + "\n")
    return result


def _answer(
    client: EgoPackClient, clip: Path, segments: list[tuple[float, float]]
) -> PredictionResult:
    """Returns the answer at once, or of a job where the clip or its segments are too many."""
    try:
        return client.predict(clip, tasks=["ar"], segments=segments)
    except Rejected as error:
        is_many = any(pointer.startswith("/segments") for pointer, _ in error.errors)
        if not (isinstance(error, NeedsJob) or is_many):
            raise
    job = client.submit(clip, tasks=["ar"], segments=segments)
    client.wait(job.id)
    return client.result(job.id)
