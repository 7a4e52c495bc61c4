"""Command `python -m model.train --learn`: a user-defined task as one more skill of a bundle.

Task file and labels file -> features by the bundle's encoder -> skill on the frozen backbone ->
temperature and metrics -> a new bundle. The bundle it starts from is not changed.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from extract.encoders.encoder import VideoEncoder
from extract.encoders.load import load_named_encoder
from extract.errors import ExtractError
from extract.features.store import FeatureStore
from extract.features.track import FeatureTrack
from model.data.custom_task import check_rows, draw_fraction, split_samples
from model.data.samples import Samples
from model.data.tables.features import own_tracks
from model.data.tables.label_file import LabelRow, assign_splits, label_names, read_labels
from model.data.task_file import TaskFile, read_task
from model.data.video_files import find_videos
from model.errors import AnnotationInvalid, ModelError
from model.predict.predictor import Predictor
from model.train.ledger import stage_key
from model.train.new_skill.adding import add_skill, check_is_new
from model.train.new_skill.options import LabelOptions, LearnOptions, parse_options
from model.train.new_skill.skill import Method, TrainedSkill, is_voted, learn_skill
from weights.bundle import Bundle, load_bundle, save_bundle
from weights.bundle.manifest import MANIFEST_FILE
from weights.errors import WeightsError


@dataclass(frozen=True, eq=False)
class SkillData:
    """Everything that a skill is trained from.

    Attributes:
        bundle: has the frozen backbone and the backpack.
        predictor: the bundle, built.
        task: to learn.
        labels: names by id.
        samples: "train" and, if the labels have them, "val" and "test".
        sources: name of a sample -> its row in the labels file.
    """

    bundle: Bundle
    predictor: Predictor
    task: TaskFile
    labels: list[str]
    samples: dict[str, Samples]
    sources: dict[str, LabelRow]


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 2 when an argument or an input file is wrong."""
    options = parse_options(argv)
    try:
        task = read_task(options.task)
        work = options.work or Path("work") / task.spec.name
        out = options.out or work / "bundle"
        _check_out(out)
        voted = is_voted(task, options.method)
        data = read_skill_data(task, options, work, needs_val=not voted)
        checkpoint = _checkpoint(work, data, options)
        own = learn_from(
            data,
            fraction=options.fraction,
            seed=options.seed,
            method=options.method,
            has_backpack=not options.no_backpack,
            checkpoint=checkpoint,
        )
        bundle = save_bundle(add_skill(data.bundle, own), out)
        checkpoint.unlink(missing_ok=True)
    except (ExtractError, ModelError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for split in own.metrics:
        print(own.table(split) + "\n")
    for line in own.learnt.lines():
        print(line + "\n")
    print(f"{out}: {bundle.manifest.name} with {task.spec.name}, {bundle.sha256[:12]}")
    return 0


def learn_from(
    data: SkillData,
    *,
    fraction: float = 1.0,
    seed: int = 0,
    method: Method = "auto",
    has_backpack: bool = True,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> TrainedSkill:
    """Trains the skill on a share of the training samples; val and test stay whole."""
    samples = data.samples
    if fraction < 1:
        few = draw_fraction(samples["train"], fraction, seed=seed)
        samples = {**samples, "train": few}
    own = learn_skill(
        data.predictor,
        data.task,
        samples,
        data.labels,
        seed=seed,
        sources=data.sources,
        method=method,
        has_backpack=has_backpack,
        checkpoint=checkpoint,
        progress=progress,
    )
    learnt = replace(own.learnt, training={**own.learnt.training, "fraction": fraction})
    return replace(own, learnt=learnt)


def read_skill_data(
    task: TaskFile, options: LabelOptions, work: Path, *, needs_val: bool = True
) -> SkillData:
    """Reads labels and features; extracts missing features with `options.workers` threads.

    Args:
        task: of the labels.
        options: where everything is, and the seed of the split by video.
        work: folder of the features, unless the options name one.
        needs_val: labels without a split are also split into train and val.

    Raises:
        ModelError: an input file is wrong; the message says where.
        ExtractError: a stored track cannot be read.
        WeightsError: the bundle fails verification.
    """
    torch.set_num_threads(options.workers)
    bundle = load_bundle(options.bundle)
    check_is_new(task.spec.name, bundle.manifest)
    localises = task.kind == "localise"
    rows = read_labels(options.labels, localises=localises, labels=task.labels)
    rows = assign_splits(rows, seed=options.seed, needs_val=needs_val)
    labels = [task.spec.name] if localises else label_names(rows, task.labels)
    encoder = None
    if options.encoder is not None:
        encoder = load_named_encoder(
            options.encoder,
            weights=options.weights,
            color=options.color,
            accept_license=options.accept_license,
        )
    predictor = Predictor(bundle, encoder=encoder)
    store = FeatureStore(options.features or work / "features")
    listed = _read_tracks(predictor.encoder, rows, store, options.videos)
    check_rows(rows, listed, options.labels)
    sources = {f"{row.video}:{row.line}": row for row in rows}
    fps = float(predictor.encoder.contract.fps)
    samples = split_samples(task.spec, rows, listed, labels, fps=fps)
    torch.set_num_threads(1)  # training steps are too small to gain from more
    return SkillData(bundle, predictor, task, labels, samples, sources)


def _read_tracks(
    encoder: VideoEncoder, rows: list[LabelRow], store: FeatureStore, folder: Path | None
) -> list[FeatureTrack]:
    """The tracks of all videos; without a folder of videos all must be in the store."""
    videos = sorted({row.video for row in rows})
    ends = {v: max(r.end_s for r in rows if r.video == v) for v in videos}
    with tqdm(total=len(videos), desc="features", unit="video") as bar:

        def show(*_: int) -> None:
            bar.update()

        return own_tracks(encoder, ends, store, folder, find_videos, progress=show)


def _checkpoint(work: Path, data: SkillData, options: LearnOptions) -> Path:
    """The checkpoint file, by a hash of everything that the training depends on."""
    key = stage_key(
        data.bundle.sha256,
        data.predictor.encoder.fingerprint,
        data.task,
        options.labels.read_text("utf-8"),
        options.seed,
        options.method,
        options.fraction,
        options.no_backpack,
    )
    return work / f"skill-{key}.checkpoint"


def _check_out(out: Path) -> None:
    """Raises where saving the bundle would replace a folder that is not a bundle."""
    is_empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not is_empty and not (out / MANIFEST_FILE).is_file():
        raise AnnotationInvalid(f"--out {out}: exists and is no bundle; name a new folder")
