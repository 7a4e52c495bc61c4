"""python -m model.train --learn: a task of one's own becomes one more skill of a bundle.

Task file + labels file -> features by the bundle's encoder -> skill on the frozen backbone ->
temperature and metrics -> a new bundle. The bundle learnt on is not touched.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from extract.dataset.video_lists import Video
from extract.encoders.encoder import VideoEncoder
from extract.encoders.load import SPEC_HELP, add_encoder_options, load_named_encoder
from extract.errors import ExtractError
from extract.features.ids import as_id
from extract.features.store import FeatureStore
from extract.features.track import FeatureTrack
from extract.features.track_check import Annotated, FeatureCheck
from model.data.custom_task import check_rows, custom_samples, draw_fraction, on_features_clock
from model.data.label_file import SPLITS, LabelRow, assign_splits, label_names, read_labels
from model.data.samples import Samples, Tracks
from model.data.task_file import TaskFile, read_task
from model.data.tracks import needed_by, read_files
from model.data.video_files import find_videos, lengths_beside
from model.errors import AnnotationInvalid, ModelError
from model.evaluate.tables import format_table
from model.predict.predictor import Predictor
from model.train.ledger import stage_key
from model.train.new_skill.skill import TrainedSkill, add_skill, check_is_new, learn_skill
from weights import SHIPPED_BUNDLE
from weights.bundle import Bundle, load_bundle, save_bundle
from weights.bundle.manifest import MANIFEST_FILE
from weights.errors import WeightsError
from weights.storage.folders import as_place


@dataclass(frozen=True, eq=False)
class SkillData:
    """Everything a task is learnt from.

    Attributes:
        bundle: what it is learnt on.
        predictor: the same, built.
        task: what to learn.
        labels: names by id.
        samples: "train", "val" and, if the labels have one, "test".
    """

    bundle: Bundle
    predictor: Predictor
    task: TaskFile
    labels: list[str]
    samples: dict[str, Samples]


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 2 when something given is wrong."""
    arguments = _parse(argv)
    torch.set_num_threads(arguments.workers)
    try:
        task = read_task(arguments.learn)
        work = arguments.work or Path("work") / task.spec.name
        out = arguments.out or work / "bundle"
        _check_out(out)
        material = read_material(task, arguments, work)
        torch.set_num_threads(1)  # steps are too small to gain from more
        checkpoint = _checkpoint(work, material, arguments)
        own = learn_from(
            material,
            fraction=arguments.fraction,
            seed=arguments.seed,
            has_backpack=not arguments.no_backpack,
            checkpoint=checkpoint,
        )
        bundle = save_bundle(add_skill(material.bundle, own), out)
        checkpoint.unlink(missing_ok=True)
    except (ExtractError, ModelError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for split, found in own.metrics.items():
        rows = {name: {task.spec.name: values} for name, values in own.baselines[split].items()}
        print(format_table(split, {"model": {task.spec.name: found}, **rows}) + "\n")
    print(f"{out}: {bundle.manifest.name} with {task.spec.name}, {bundle.sha256[:12]}")
    return 0


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says where labels, videos and features are."""
    parser.add_argument(
        "--labels",
        type=Path,
        required=True,
        help="CSV file: video, start_s, end_s, label (or time_s) and, if wanted, split",
    )
    parser.add_argument("--videos", type=Path, help="folder of the videos that the labels name")
    parser.add_argument(
        "--features",
        type=as_place,
        help="folder or URL of features, filled where incomplete (WORK/features)",
    )
    parser.add_argument(
        "--bundle",
        type=as_place,
        default=SHIPPED_BUNDLE,
        help="folder or URL of the bundle to learn on (default: the shipped one)",
    )
    parser.add_argument("--encoder", help=f"where the bundle brings none: {SPEC_HELP}")
    add_encoder_options(parser)
    parser.add_argument("--work", type=Path, help="where features are kept (work/NAME)")
    parser.add_argument("--workers", type=int, default=2, help="videos read side by side")


def fraction_of(text: str) -> float:
    """Returns a share as argparse wants it: above 0, at most 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected more than 0, at most 1, got {text}")
    return value


def learn_from(
    material: SkillData,
    *,
    fraction: float = 1.0,
    seed: int = 0,
    has_backpack: bool = True,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> TrainedSkill:
    """Learns the task from a share of its training samples; val and test stay whole."""
    samples = material.samples
    if fraction < 1:
        few = draw_fraction(samples["train"], fraction, seed=seed)
        samples = {**samples, "train": few}
    own = learn_skill(
        material.predictor,
        material.task,
        samples,
        material.labels,
        seed=seed,
        has_backpack=has_backpack,
        checkpoint=checkpoint,
        progress=progress,
    )
    return replace(own, training={**own.training, "fraction": fraction})


def read_material(task: TaskFile, arguments: argparse.Namespace, work: Path) -> SkillData:
    """Reads labels and features, extracting what the store lacks.

    Args:
        task: what the labels are for.
        arguments: `labels`, `videos`, `features`, `bundle`, `encoder` with its options, `seed`.
        work: where features are kept when no store is named.

    Raises:
        ModelError: a file is wrong; the message says where.
        ExtractError: a stored track cannot be read.
        WeightsError: the bundle cannot be trusted.
    """
    bundle = load_bundle(arguments.bundle)
    check_is_new(task, bundle.manifest)
    localises = task.kind == "localise"
    rows = read_labels(arguments.labels, localises=localises, labels=task.labels)
    rows = assign_splits(rows, seed=arguments.seed)
    labels = [task.spec.name] if localises else label_names(rows, task.labels)
    predictor = Predictor(bundle, encoder=_named_encoder(arguments))
    store = FeatureStore(arguments.features or work / "features")
    listed = _read_tracks(predictor.encoder, rows, store, arguments.videos)
    check_rows(rows, listed, arguments.labels)
    rows = on_features_clock(rows, listed)
    tracks, fps = Tracks.join(listed), float(predictor.encoder.contract.fps)
    splits = [split for split in SPLITS if any(row.split == split for row in rows)]
    samples: dict[str, Samples] = {
        split: custom_samples(task, rows, split, tracks, labels, fps=fps) for split in splits
    }
    return SkillData(bundle, predictor, task, labels, samples)


def _named_encoder(arguments: argparse.Namespace) -> VideoEncoder | None:
    if arguments.encoder is None:
        return None
    return load_named_encoder(arguments.encoder, weights=arguments.weights, color=arguments.color)


def _read_tracks(
    encoder: VideoEncoder, rows: list[LabelRow], store: FeatureStore, folder: Path | None
) -> list[FeatureTrack]:
    """The tracks of all videos; without a folder they have to be in the store."""
    videos = sorted({row.video for row in rows})
    fps = encoder.contract.fps
    ends = {v: max(round(r.end_s * fps) for r in rows if r.video == v) for v in videos}
    check = FeatureCheck(
        needed=needed_by(encoder),
        lengths=lengths_beside(store.root, folder),
        annotated={as_id(video): Annotated(0, end, "") for video, end in ends.items()},
    )

    def locate(missing: Sequence[str]) -> dict[str, Video]:
        if folder is None:
            raise AnnotationInvalid(
                f"{len(missing)} of {len(videos)} videos have no features of this bundle's encoder "
                f"in {store.root}, {missing[0]} first: name the folder of the videos with --videos"
            )
        return find_videos(folder, missing)

    with tqdm(total=len(videos), desc="features", unit="video") as bar:

        def show(*_: int) -> None:
            bar.update()

        return read_files(videos, store, encoder, locate=locate, check=check, progress=show)


def _checkpoint(work: Path, material: SkillData, arguments: argparse.Namespace) -> Path:
    """Where a killed run goes on from its last epoch; another run has another file."""
    made_from = (
        material.bundle.sha256,
        material.predictor.encoder.fingerprint,
        material.task,
        arguments.labels.read_text("utf-8"),
        arguments.seed,
        arguments.fraction,
        arguments.no_backpack,
    )
    work.mkdir(parents=True, exist_ok=True)
    return work / f"skill-{stage_key(*made_from)}.checkpoint"


def _check_out(out: Path) -> None:
    """Refuses a folder that holds something else: saving a bundle replaces the whole folder."""
    is_empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not is_empty and not (out / MANIFEST_FILE).is_file():
        raise AnnotationInvalid(f"--out {out}: exists and is no bundle; name a new folder")


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model.train --learn TASK.toml",
        description="Learns a task of one's own on a bundle with its backpack and writes the "
        "bundle with one more skill; see docs/new-skill.md.",
    )
    parser.add_argument("--learn", type=Path, required=True, metavar="TASK.toml", help="the task")
    add_label_arguments(parser)
    parser.add_argument("--out", type=Path, help="folder of the new bundle (WORK/bundle)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    parser.add_argument(
        "--fraction", type=fraction_of, default=1.0, help="share of the training labels to use"
    )
    parser.add_argument(
        "--no-backpack", action="store_true", help="the task's own head alone: plain fine-tuning"
    )
    return parser.parse_args(argv)
