"""Time and memory of every step from files to scores, on a data set of Ego4D's size.

Steps: write the synthetic tree, read annotations, pack features, build samples, train one stage-1
epoch of all four tasks, evaluate on val, write and validate the three challenge files. Memory is
what the process holds (anonymous) and, apart from it, what is mapped from files and can be dropped
at any time.
"""

import argparse
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bench.ego4d.tree import TreeSize, write_tree
from model.config import FitConfig, Learning, ModelConfig
from model.data.annotations import FEATURES, DataRoot, Split
from model.data.samples import Samples, Tracks
from model.data.task_samples import split_samples
from model.data.tracks import load_tracks
from model.evaluate.calibration import collect_logits
from model.evaluate.scoring import score_logits
from model.nn.multitask import MultiTaskModel
from model.nn.skill_set import Backbone, skill_from_multitask
from model.score.__main__ import main as score_test_set
from model.tasks import FIXED_LABELS
from model.train.assemble import assemble, group_skills
from model.train.datasets.prepared import Prepared
from model.train.fit import FitJob
from model.train.methods.stages import SkillOnBackbone, train_multitask
from weights.bundle import save_bundle

SAMPLE_EVERY_S = 0.02
SPLITS: tuple[Split, ...] = ("train", "val")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument("--work", type=Path, required=True, help="folder; about 6 GB at scale 1")
    parser.add_argument("--scale", type=float, default=1.0, help="share of v1's size")
    parser.add_argument("--hidden-size", type=int, default=128, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=16, help="graphs a task and step")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures and returns the figures."""
    watch = Watch()
    size = TreeSize().scaled(arguments.scale)
    work = arguments.work / f"scale-{arguments.scale:g}"
    with watch.step("write the tree"), _bar("tree") as advance:
        data = write_tree(work / "tree", size, seed=arguments.seed, progress=advance)
    with watch.step("read annotations"):
        data = DataRoot.find(data.root)
        splits: tuple[Split, ...] = (*SPLITS, "test_unannotated")
        records = {split: data.read(split) for split in splits}
        videos = sorted(set().union(*(of.videos for of in records.values())))
    with watch.step("pack features"), _bar("pack") as advance:
        tracks = load_tracks(data, videos, FEATURES, packed_under=work, progress=advance)
    with watch.step("open the pack"):
        tracks = load_tracks(data, videos, FEATURES, packed_under=work)
    with watch.step("build samples"):
        samples: dict[str, dict[str, Samples]] = {
            split: split_samples(records[split], tracks) for split in SPLITS
        }
    with watch.step("train an epoch"):
        model = _train(arguments, data, samples["train"], tracks)
    with watch.step("evaluate on val"):
        metrics = _evaluate(model, samples["val"])
    with watch.step("score the test set"):
        _score(model, data, samples, work)
    return {
        "scale": arguments.scale,
        "hidden_size": arguments.hidden_size,
        "videos": len(videos),
        "samples": {s: {task: len(v) for task, v in of.items()} for s, of in samples.items()},
        "features_gb": round(tracks.features.nbytes / 1e9, 3),
        "steps": watch.steps,
        "peak_resident_mb": round(_memory_mb()["VmHWM"]),
        "metrics": metrics,
    }


def _train(
    arguments: argparse.Namespace, data: DataRoot, train: dict[str, Samples], tracks: Tracks
) -> MultiTaskModel:
    config = ModelConfig(input_size=tracks.features.shape[1], hidden_size=arguments.hidden_size)
    num_labels = {name: len(names) for name, names in (data.taxonomy | FIXED_LABELS).items()}
    fit_config = FitConfig(epochs=1, learning_rate=1e-4, batch_size=arguments.batch_size)
    fitting = FitJob(fit_config, seed=arguments.seed, device=arguments.device)
    return train_multitask(config, train, num_labels, fitting)


def _evaluate(model: MultiTaskModel, val: dict[str, Samples]) -> dict[str, dict[str, float]]:
    models = {task: lambda inputs, t=task: model({t: inputs})[t] for task in val}
    logits, labels = collect_logits(models, val, model.config)
    return score_logits(logits, labels, val, model.config, {})


def _score(
    model: MultiTaskModel, data: DataRoot, samples: dict[str, dict[str, Samples]], work: Path
) -> None:
    """Bundles the trained tasks and answers the test split with the scoring command."""
    held = Backbone(model)
    skills = {
        t: SkillOnBackbone(skill_from_multitask(model, t), held, tuned={}) for t in model.specs
    }
    encoder = {"name": FEATURES, "kind": "features"}
    labels = data.taxonomy
    prepared = Prepared(samples, labels, encoder, {}, "", "noise", {"licence": "none"})
    fit_config = FitConfig(epochs=1, learning_rate=1e-4)
    learning = Learning(model.config, fit_config, {}, {})
    facts = {"command": "python -m bench ego4d-size", "method": "mtl", "protocol": "none",
             "seed": 0, "threads": torch.get_num_threads(), "seconds": {}}  # fmt: skip
    bundle = assemble("noise", group_skills(skills), prepared, learning, {}, facts)
    save_bundle(bundle, work / "bundle")
    answers = work / "answers"
    shutil.rmtree(answers, ignore_errors=True)
    asked = ["--bundle", str(work / "bundle"), "--annotations", str(data.root)]
    where = ["--features", str(data.features(FEATURES)), "--out", str(answers)]
    if score_test_set([*asked, *where]):
        raise SystemExit("the test set could not be scored")


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    lines = [f"{'':<20}{'seconds':>10}{'own MB':>10}{'mapped MB':>12}"]
    lines += [
        f"{step['name']:<20}{step['seconds']:>10.1f}{step['anonymous_mb']:>10}{step['file_mb']:>12}"
        for step in figures["steps"]
    ]
    return "\n".join([*lines, f"features {figures['features_gb']} GB, memory: peak of each step"])


@dataclass
class Watch:
    """Times steps and watches this process's memory while they last.

    Attributes:
        steps: one record a step: name, seconds, and the peaks of both kinds of memory in MB.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measures what happens inside."""
        peak = {"RssAnon": 0.0, "RssFile": 0.0}
        stop = threading.Event()

        def watch() -> None:
            while True:
                now = _memory_mb()
                peak.update({kind: max(most, now[kind]) for kind, most in peak.items()})
                if stop.wait(SAMPLE_EVERY_S):
                    return

        thread = threading.Thread(target=watch, daemon=True)
        started_s = time.perf_counter()
        thread.start()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started_s
            stop.set()
            thread.join()
        self.steps.append({
            "name": name,
            "seconds": round(seconds, 2),
            "anonymous_mb": round(peak["RssAnon"]),
            "file_mb": round(peak["RssFile"]),
        })  # fmt: skip


def _memory_mb() -> dict[str, float]:
    """Memory of this process, from /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) / 1000 for name, value in facts.items()}


@contextmanager
def _bar(label: str) -> Iterator[Any]:
    with tqdm(desc=label, unit="video") as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance
