"""Command `python -m model.train reproduce`: methods x tasks x seeds, as in the paper's tables."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from extract.errors import ExtractError
from model.config import Learning
from model.data.annotations import DataRoot
from model.data.missing import LEFT_OUT
from model.errors import ModelError, SettingInvalid
from model.evaluate.paper import SUBSETS, WINDOWS, learnt_from_ego4d
from model.evaluate.report.write import write_csv
from model.train.datasets.ego4d import prepare_ego4d
from model.train.datasets.prepared import Prepared
from model.train.datasets.tabletop import prepare_world
from model.train.effects import check_settings
from model.train.methods.trainer import LABELS, Training, has_backpack, parts_of
from model.train.options import TrainingOptions, add_training_arguments, check_options, override
from model.train.pipeline import plan, typical_seconds
from model.train.presets import EGO4D, SMALL, TABLETOP, brief
from model.train.reproduce.differences import difference_table, find_differences, summarise
from model.train.reproduce.jobs import Job, Prepare, Score, plan_jobs, run_jobs
from model.train.reproduce.report import build_sweeps, build_tables, write_reproduction
from tabletop.errors import TabletopError
from tabletop.files.world import WORLD_FILE
from weights import SHIPPED_BUNDLE
from weights.errors import WeightsError
from weights.storage.folders import Place, as_place

NEIGHBOURS = (1, 2, 8, 16)
DEPTHS = (1, 2, 3, 4, 5)
"""Fig. 4: values besides the preset's own number of neighbours and interaction layers."""


class ReproduceOptions(TrainingOptions):
    """Flags of `python -m model.train reproduce`."""

    data: Path
    bundle: Place | None
    seeds: int
    methods: list[str]
    subsets: bool
    ablations: bool
    brief: bool
    work: Path
    out: Path
    jobs: int

    @property
    def is_world(self) -> bool:
        """Whether the data are a generated world, by its file."""
        return (self.data / WORLD_FILE).is_file()


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 2 when the data or the bundle cannot be used."""
    options = _parse(argv)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        learning = _learning(options)
        parts = _parts(options, learning)
        check_settings(options.settings, learning, plan(parts, options.tasks))
        prepare = _prepare(options)
        prepared = prepare()
        learning = learning.with_input_size(prepared.input_size).with_windows(*prepared.windows)
        scores = _run(options, parts, prepare, learning)
        _report(options, prepared, learning, scores)
    except (ExtractError, ModelError, TabletopError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(
    options: ReproduceOptions, parts: Sequence[Training], prepare: Prepare, learning: Learning
) -> list[Score]:
    jobs = plan_jobs(parts, range(options.seeds), options.tasks)
    weight = typical_seconds(parts, options.tasks)
    done = run_jobs(
        jobs,
        prepare,
        learning,
        options.work,
        processes=options.jobs,
        device=options.device,
        tasks=options.tasks,
    )
    scores = []
    total = sum(weight[job.part.name] for job in jobs)
    form = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining} {postfix}"
    with tqdm(total=total, desc="reproduce", bar_format=form) as bar:
        for job, score in done:
            bar.set_postfix_str(f"seed {job.seed}: {job.part.name}")
            bar.update(weight[job.part.name])
            if score is not None:
                scores.append(score)
    return sorted(scores, key=lambda s: _order(jobs, s))


def _parts(options: ReproduceOptions, learning: Learning) -> list[Training]:
    """The parts that are scored; see `plan` for all that are trained."""
    tasks = options.tasks
    parts = [part for method in options.methods for part in parts_of(method, tasks)]
    if options.subsets:
        parts += [Training("mtl", some) for some in SUBSETS if set(some) <= set(tasks)]
    if options.ablations:
        parts += ablation_parts(learning, tasks)
    return list(dict.fromkeys(parts))


def ablation_parts(learning: Learning, tasks: tuple[str, ...]) -> list[Training]:
    """Returns EgoPack with other numbers of neighbours and of interaction layers (Fig. 4)."""
    model = learning.model
    changes: list[tuple[str, int]] = [("num_neighbours", k) for k in NEIGHBOURS]
    changes += [("interaction_layers", d) for d in DEPTHS]
    tried = [c for c in changes if getattr(model, c[0]) != c[1]]
    return [Training("egopack", (task,), (change,)) for change in tried for task in tasks]


def _report(
    options: ReproduceOptions, prepared: Prepared, learning: Learning, scores: list[Score]
) -> None:
    from_ego4d = learnt_from_ego4d({"data": prepared.data})
    tables = build_tables(
        scores,
        options.methods,
        options.tasks,
        with_paper=from_ego4d,
        lta_windows=options.lta_windows,
    )
    sweeps = build_sweeps(scores, learning.model)
    differences = find_differences(scores, options.methods, options.tasks, prepared.samples)
    tables += [
        difference_table(differences, split, reference)
        for split, reference in dict.fromkeys((d.split, d.reference) for d in differences)
    ]
    said = [summarise(differences, s) for s in dict.fromkeys(d.split for d in differences)]
    print("\n\n".join([*(table.to_markdown() for table in tables), *said]))
    counts = {split: {t: len(x) for t, x in by.items()} for split, by in prepared.samples.items()}
    facts = [
        f"Data: {prepared.data}; samples {json.dumps(counts)}.",
        f"Seeds: {', '.join(map(str, range(options.seeds)))}; mean ± standard deviation.",
    ]
    facts += said
    if gone := prepared.facts.get(LEFT_OUT):
        facts.append(f"Left out for want of features: {json.dumps(gone)}.")
    note = "" if from_ego4d else "Tabletop numbers are not Ego4D numbers."
    write_csv(options.out / "differences.csv", [d.row() for d in differences])
    write_reproduction(options.out, scores, tables, sweeps, facts=facts, note=note)
    print(options.out / "report.html", file=sys.stderr)


def _order(jobs: Sequence[Job], score: Score) -> int:
    return next(i for i, j in enumerate(jobs) if (j.part, j.seed) == (score.part, score.seed))


def _learning(options: ReproduceOptions) -> Learning:
    start = TABLETOP.learning if options.is_world else {**EGO4D, "small": SMALL}[options.preset]
    return override(brief(start) if options.brief else start, options.settings)


def _prepare(options: ReproduceOptions) -> Prepare:
    """Returns the function that every process calls for its data."""
    if options.is_world:
        features = as_place(options.features or options.work / "features")
        return partial(prepare_world, options.data, options.bundle or SHIPPED_BUNDLE, features)
    root = DataRoot.find(options.data, options.version).root
    if options.bundle is not None:
        raise SettingInvalid(
            f"--bundle: makes features of a tabletop world, but {root} holds no {WORLD_FILE}"
        )
    methods = [*options.methods, *(["egopack"] if options.ablations else [])]
    uses_backpack = any(has_backpack(method, options.tasks) for method in methods)
    return partial(prepare_ego4d, options, packed_under=options.work, has_backpack=uses_backpack)


def _parse(argv: list[str]) -> ReproduceOptions:
    parser = argparse.ArgumentParser(
        prog="python -m model.train reproduce",
        description="Trains every method of the paper's tables with several seeds, in parallel on "
        "all cores, and prints mean and standard deviation of every task's metrics; beside the "
        "paper's figures when the data is Ego4D; and which differences to MTL and MTL + FT are "
        "real, by paired intervals over videos and seeds. Rerun it after an interruption: finished "
        "parts are cached.",
    )
    add_training_arguments(parser)
    parser.set_defaults(data=Path("work/tabletop/world"))
    parser.add_argument(
        "--bundle",
        type=as_place,
        help="bundle whose encoder makes a tabletop world's features (default: the shipped one)",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="number of seeds: 0, 1, ... (default: %(default)s)"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=list(LABELS),
        default=list(LABELS),
        help="to train and score (default: all)",
    )
    parser.add_argument("--subsets", action="store_true", help="Table 7: any two or three tasks")
    parser.add_argument("--ablations", action="store_true", help="Fig. 4: neighbours and depth")
    parser.add_argument(
        "--brief", action="store_true", help="two epochs of each training, as a test of the command"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("work/reproduce"),
        help="folder of the cached parts (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("work/reproduce/results"),
        help="folder of tables, figures and scores (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs", type=int, default=2, help="processes, one core each (default: %(default)s)"
    )
    parser.add_argument(
        "--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)"
    )
    options = parser.parse_args(argv, ReproduceOptions())
    if options.is_table:
        parser.error(
            f"--data {options.data}: the paper's tables are of its four tasks, so reproduce takes "
            "data in Ego4D's layout"
        )
    if options.is_world:
        unused = ("version", "missing", "preset", "lta-windows")
        check_options(parser, options, options.methods, unused=unused)
    else:  # LTA's windows as in the paper's figures
        check_options(parser, options, options.methods, lta_windows=WINDOWS)
    return options
