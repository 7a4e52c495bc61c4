"""python -m model.train reproduce: methods x tasks x seeds, as the paper's tables have them."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from extract.errors import ExtractError
from model.config import Learning
from model.data.annotations import FEATURES, DataRoot
from model.data.missing import LEFT_OUT
from model.errors import ModelError, SettingInvalid
from model.evaluate.paper import SUBSETS, WINDOWS, learnt_from_ego4d
from model.train.datasets.ego4d import prepare_ego4d
from model.train.datasets.prepared import Prepared
from model.train.datasets.tabletop import prepare_world
from model.train.effects import check_settings
from model.train.methods.trainer import LABELS, Training, has_backpack, parts_of
from model.train.options import (
    add_data_arguments,
    add_setting_argument,
    add_task_argument,
    check_tasks,
    override,
    settle_data_arguments,
)
from model.train.pipeline import plan, typical_seconds
from model.train.presets import EGO4D, TABLETOP, brief
from model.train.reproduce.jobs import Job, Prepare, Score, plan_jobs, run_jobs
from model.train.reproduce.report import build_sweeps, build_tables, write_reproduction
from tabletop.errors import TabletopError
from tabletop.files.world import WORLD_FILE
from weights import SHIPPED_BUNDLE
from weights.errors import WeightsError
from weights.storage.folders import Place, as_place

NEIGHBOURS = (1, 2, 8, 16)
DEPTHS = (1, 2, 3, 4, 5)
"""Fig. 4: what is tried besides the preset's own number of neighbours and interaction layers."""


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 2 when the data or the bundle cannot be used."""
    arguments = _parse(argv)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        learning = _learning(arguments)
        check_settings(arguments.settings, learning, _plan(arguments, learning))
        prepare = _prepare(arguments, learning)
        prepared, learning = prepare()
        scores = _run(arguments, prepare, learning)
        _report(arguments, prepared, learning, scores)
    except (ExtractError, ModelError, TabletopError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(arguments: argparse.Namespace, prepare: Prepare, learning: Learning) -> list[Score]:
    tasks = tuple(arguments.tasks)
    parts = _parts(arguments, learning)
    jobs = plan_jobs(parts, range(arguments.seeds), tasks)
    weight = typical_seconds(parts, tasks)
    done = run_jobs(
        jobs,
        prepare,
        arguments.work,
        processes=arguments.jobs,
        device=arguments.device,
        tasks=tasks,
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


def _parts(arguments: argparse.Namespace, learning: Learning) -> list[Training]:
    """What is scored."""
    tasks = tuple(arguments.tasks)
    parts = [part for method in arguments.methods for part in parts_of(method, tasks)]
    if arguments.subsets:
        parts += [Training("mtl", some) for some in SUBSETS if set(some) <= set(tasks)]
    if arguments.ablations:
        parts += ablation_parts(learning, tasks)
    return list(dict.fromkeys(parts))


def _plan(arguments: argparse.Namespace, learning: Learning) -> list[Training]:
    """What is trained."""
    return plan(_parts(arguments, learning), tuple(arguments.tasks))


def ablation_parts(learning: Learning, tasks: tuple[str, ...]) -> list[Training]:
    """Returns EgoPack with other numbers of neighbours and of interaction layers (Fig. 4)."""
    model = learning.model
    changes: list[tuple[str, int]] = [("num_neighbours", k) for k in NEIGHBOURS]
    changes += [("interaction_layers", d) for d in DEPTHS]
    tried = [c for c in changes if getattr(model, c[0]) != c[1]]
    return [Training("egopack", (task,), (change,)) for change in tried for task in tasks]


def _report(
    arguments: argparse.Namespace, prepared: Prepared, learning: Learning, scores: list[Score]
) -> None:
    from_ego4d = learnt_from_ego4d({"data": prepared.data})
    tasks = tuple(arguments.tasks)
    tables = build_tables(
        scores,
        arguments.methods,
        tasks,
        with_paper=from_ego4d,
        lta_windows=arguments.lta_windows,
    )
    sweeps = build_sweeps(scores, learning.model)
    print("\n\n".join(table.to_markdown() for table in tables))
    counts = {split: {t: len(x) for t, x in by.items()} for split, by in prepared.samples.items()}
    facts = [
        f"Data: {prepared.data}; samples {json.dumps(counts)}.",
        f"Seeds: {', '.join(map(str, range(arguments.seeds)))}; mean ± standard deviation.",
    ]
    if gone := prepared.facts.get(LEFT_OUT):
        facts.append(f"Left out for want of features: {json.dumps(gone)}.")
    note = "" if from_ego4d else "Tabletop numbers are not Ego4D numbers."
    write_reproduction(arguments.out, scores, tables, sweeps, facts=facts, note=note)
    print(arguments.out / "report.html", file=sys.stderr)


def _order(jobs: Sequence[Job], score: Score) -> int:
    return next(i for i, j in enumerate(jobs) if (j.part, j.seed) == (score.part, score.seed))


def _is_world(root: Path) -> bool:
    """Whether the data are a tabletop world: its file tells."""
    return (root / WORLD_FILE).is_file()


def _learning(arguments: argparse.Namespace) -> Learning:
    start = TABLETOP.learning if _is_world(arguments.data) else EGO4D[arguments.preset]
    return override(brief(start) if arguments.brief else start, arguments.settings)


def _prepare(arguments: argparse.Namespace, learning: Learning) -> Prepare:
    """What every process calls for its data and settings."""
    if _is_world(arguments.data):
        features = as_place(arguments.features or arguments.work / "features")
        return partial(
            _world, arguments.data, arguments.bundle or SHIPPED_BUNDLE, features, learning
        )
    root = DataRoot.find(arguments.data, arguments.version).root
    if arguments.bundle is not None:
        raise SettingInvalid(
            f"--bundle: makes features of a tabletop world, but {root} holds no {WORLD_FILE}"
        )
    tasks = tuple(arguments.tasks)
    methods = [*arguments.methods, *(["egopack"] if arguments.ablations else [])]
    return partial(
        _ego4d,
        arguments.data,
        arguments.features or FEATURES,
        learning,
        version=arguments.version,
        enumeration=arguments.lta_windows,
        packed_under=arguments.work,
        tasks=tasks,
        has_backpack=any(has_backpack(method, tasks) for method in methods),
        missing=arguments.missing,
    )


def _world(
    root: Path, bundle: Place, features: Place, learning: Learning
) -> tuple[Prepared, Learning]:
    return _fitted(prepare_world(root, bundle, features), learning)


def _ego4d(
    root: Path, features: str, learning: Learning, **options: object
) -> tuple[Prepared, Learning]:
    prepared = prepare_ego4d(root, features, **options)  # type: ignore[arg-type]
    return _fitted(prepared, learning)


def _fitted(prepared: Prepared, learning: Learning) -> tuple[Prepared, Learning]:
    model = replace(learning.model, input_size=prepared.input_size)
    return prepared, replace(learning, model=model)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model.train reproduce",
        description="Trains every method of the paper's tables with several seeds, side by side on "
        "all cores, and prints mean and standard deviation of every task's metrics; beside the "
        "paper's figures when the data is Ego4D. Rerun it after an interruption: what is finished "
        "is kept.",
    )
    add_data_arguments(parser)
    parser.set_defaults(data=Path("work/tabletop/world"))
    parser.add_argument(
        "--bundle",
        type=as_place,
        help="whose encoder makes a tabletop world's features (default: the shipped one's)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many (0, 1, 2, ...)")
    parser.add_argument("--methods", nargs="+", choices=list(LABELS), default=list(LABELS))
    add_task_argument(parser)
    add_setting_argument(parser)
    parser.add_argument("--subsets", action="store_true", help="Table 7: any two or three tasks")
    parser.add_argument("--ablations", action="store_true", help="Fig. 4: neighbours and depth")
    parser.add_argument("--brief", action="store_true", help="two epochs each: proves the road")
    parser.add_argument("--work", type=Path, default=Path("work/reproduce"))
    parser.add_argument("--out", type=Path, default=Path("work/reproduce/results"))
    parser.add_argument("--jobs", type=int, default=2, help="processes, one core each")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    arguments = parser.parse_args(argv)
    check_tasks(parser, arguments.tasks, arguments.methods)
    if _is_world(arguments.data):
        unused = ["version", "missing", "preset", "lta-windows"]
        settle_data_arguments(parser, arguments, unused=unused)
    else:  # to stand beside the paper's figures
        settle_data_arguments(parser, arguments, lta_windows=WINDOWS)
    return arguments
