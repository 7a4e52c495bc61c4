"""Command `python -m model.train`: from a seed, or from data, to a bundle.

Stages: world, encoder, features, multi-task model, backpack, one skill per task, temperatures,
bundle. Each is cached under --work, so a killed run resumes. With torchrun its processes train
together: torchrun --nproc-per-node N -m model.train ...
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from extract.errors import ExtractError
from model.config import ForecasterConfig, Learning
from model.data.tables.kinds import run_name
from model.distributed import ALONE, World, joined, ranks_started
from model.errors import ModelError, Stopped
from model.tasks import AR, LTA, TASKS
from model.train.datasets.ego4d import ego4d_words, prepare_ego4d
from model.train.datasets.prepared import Prepared
from model.train.datasets.rendered import main as render
from model.train.datasets.table import TableData, open_table, prepare_table
from model.train.datasets.tabletop import TYPICAL_S, Tabletop
from model.train.effects import check_settings
from model.train.forecast.command import main as forecast
from model.train.forecast.stage import STAGE as FORECASTER_STAGE
from model.train.forecast.stage import TYPICAL_S as FORECASTER_S
from model.train.ledger import Ledger
from model.train.methods.trainer import ALL_TASKS, SERVABLE, has_backpack, parts_of
from model.train.new_skill.command import main as learn
from model.train.new_skill.compare import main as compare
from model.train.new_skill.labelling import main as labelling
from model.train.options import (
    TrainingOptions,
    add_table_arguments,
    add_training_arguments,
    check_options,
    check_tasks,
    override,
)
from model.train.pipeline import learn_bundle, plan, typical_seconds
from model.train.presets import EGO4D, SMALL, SMOKE, TABLETOP, Preset, for_tasks, stretched
from model.train.reproduce.command import main as reproduce
from tabletop.errors import TabletopError
from weights.bundle import save_bundle
from weights.errors import WeightsError

COMMANDS = {"reproduce": reproduce, "compare": compare, "labelling": labelling}
COMMANDS |= {"forecast": forecast, "render": render}
"""Sub-commands; without one of them, training."""

PROTOCOLS = {"shared": "egopack-shared", "paper": "egopack"}
"""Protocol -> its method."""

EXIT_SIGNAL = 128
"""Added to the number of the signal that ended a run."""


class TrainOptions(TrainingOptions):
    """Flags of `python -m model.train`; `method` has the protocol in it, unlike `--method`."""

    smoke: bool
    work: Path | None
    out: Path | None
    seed: int
    workers: int
    method: str
    protocol: Literal["shared", "paper"] | None
    forecaster: bool | None

    @property
    def preset_of_world(self) -> Preset:
        """The generated world, with its seed."""
        preset = SMOKE if self.smoke else TABLETOP
        return replace(preset, world=replace(preset.world, seed=self.seed))

    @property
    def name(self) -> str:
        """Name of the bundle."""
        if isinstance(self.data, str):
            return run_name(self.data)
        return f"ego4d-{self.preset}" if self.data else self.preset_of_world.name


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 when a stage failed."""
    argv = sys.argv[1:] if argv is None else argv
    command = COMMANDS.get(argv[0]) if argv else None
    learns = command is None and any(word.split("=")[0] == "--learn" for word in argv)
    if ranks_started() > 1 and (learns or command):
        alone = ", ".join(COMMANDS)
        print(f"error: start {alone} and --learn with python, not torchrun", file=sys.stderr)
        return 2
    if command is not None:
        return command(argv[1:])
    if learns:
        return learn(argv)
    options, world = _parse(argv), ALONE
    try:
        with joined(options.device) as (world, device):
            level = logging.INFO if world.is_first else logging.WARNING
            logging.basicConfig(level=level, format="%(asctime)s %(message)s", stream=sys.stderr)
            torch.set_num_threads(max(1, options.workers // world.neighbours))
            _train(options, world, device)
    except Stopped as stop:
        if world.is_first:
            print(stop, file=sys.stderr)
        return EXIT_SIGNAL + stop.signum
    except (ExtractError, ModelError, TabletopError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _train(options: TrainOptions, world: World, device: str) -> None:
    table = open_table(options, seed=options.seed) if options.is_table else None
    specs = TASKS if table is None else table.tasks.specs
    if table is not None:
        options.tasks = table.tasks.names
        check_tasks(options, options.method, forecasts=bool(options.forecaster))
        for note in table.notes if world.is_first else ():
            print(f"{options.data}: {note}", file=sys.stderr)
    tasks, method = options.tasks, options.method
    parts = parts_of(method, tasks)
    learning = override(_settings_of(options, table), options.settings)
    check_settings(options.settings, learning, plan(parts, tasks), specs)
    folder = options.work or Path("work") / options.name
    if options.forecaster is not None:
        learning = replace(learning, forecaster=ForecasterConfig() if options.forecaster else None)
    typical = typical_seconds(parts, tasks)
    if learning.forecaster is not None:
        typical[FORECASTER_STAGE] = FORECASTER_S
    prepared, ledger = _prepare(options, table, folder, typical, world, device)
    facts: dict[str, object] = {
        "command": _command(options, () if table is None else table.words),
        "protocol": options.protocol,
        "threads": options.workers,
    }
    if world.size > 1:
        facts["processes"] = world.size
    learning = learning.with_input_size(prepared.input_size).with_windows(*prepared.windows)
    bundle = learn_bundle(
        options.name, prepared, learning, method, ledger,
        tasks=tasks, seed=options.seed, device=device, training=facts,
    )  # fmt: skip
    if bundle is not None:
        out = options.out or _default_out(options, folder)
        bundle = save_bundle(bundle, out)
        print(f"{out}: {bundle.manifest.name} {bundle.sha256[:12]}")


def _settings_of(options: TrainOptions, table: TableData | None) -> Learning:
    """The preset's settings, before `--set`."""
    if options.data is None:
        return options.preset_of_world.learning
    learning = {**EGO4D, "small": SMALL}[options.preset]
    if table is None:
        return learning
    if options.preset == "small":
        learning = stretched(learning, len(table.table.rows_in("train")))
    return for_tasks(learning, table.tasks.specs)


def _prepare(
    options: TrainOptions,
    table: TableData | None,
    folder: Path,
    typical: dict[str, float],
    world: World,
    device: str,
) -> tuple[Prepared, Ledger]:
    if table is not None:
        ledger = Ledger(folder, typical, world)
        return prepare_table(table, options, folder, ledger, device=device), ledger
    if options.data is None:
        ledger = Ledger(folder, TYPICAL_S | typical, world)
        seed, preset = options.seed, options.preset_of_world
        generated = Tabletop(preset, folder, ledger, seed=seed, workers=options.workers)
        return generated.prepare(), ledger
    ledger = Ledger(folder, typical, world)
    with world.rank_zero_first():  # it packs the features, the others map the pack
        prepared = prepare_ego4d(
            options,
            packed_under=folder,
            has_backpack=has_backpack(options.method, options.tasks),
            progress=world.is_first,
        )
    return prepared, ledger


def _command(options: TrainOptions, table: Sequence[str]) -> str:
    """The command that reproduces these weights, without the places of files."""
    words = ["python -m model.train"]
    if options.smoke:
        words.append("--smoke")
    words += table
    if isinstance(options.data, Path):
        words += ego4d_words(options)
    if options.method not in PROTOCOLS.values():
        words.append(f"--method {options.method}")
    elif options.protocol != "shared":
        words.append(f"--protocol {options.protocol}")
    if options.tasks != ALL_TASKS and not options.is_table:
        words.append(f"--tasks {' '.join(options.tasks)}")
    words += [f"--set {setting}" for setting in options.settings]
    if options.forecaster is not None:
        words.append("--forecaster" if options.forecaster else "--no-forecaster")
    if options.seed:
        words.append(f"--seed {options.seed}")
    return " ".join(words)


def _default_out(options: TrainOptions, folder: Path) -> Path:
    """The shipped bundle's folder for the command that makes it, else one under --work."""
    if options.smoke or options.data is not None:
        return folder / "bundle"
    is_shipped = options.method == PROTOCOLS["shared"]
    return Path("weights/tabletop") if is_shipped else folder / f"bundle-{options.method}"


def _parse(argv: list[str]) -> TrainOptions:
    parser = _parser()
    options = parser.parse_args(argv, TrainOptions())
    unused = () if options.data else ("version", "features", "missing", "preset", "lta-windows")
    check_options(parser, options, [options.method], unused=unused)
    if options.data and options.smoke:
        parser.error("--smoke: makes a world of its own, and --data names another")
    looks_back = {AR.name, LTA.name} <= set(options.tasks) or options.is_table
    if options.forecaster and not looks_back:
        parser.error("--forecaster: looks back on AR and answers LTA, and --tasks lacks one")
    if options.protocol and options.method != "egopack":
        parser.error(f"--protocol: of --method egopack alone, got --method {options.method}")
    options.protocol = options.protocol or "shared"
    if options.method == "egopack":
        options.method = PROTOCOLS[options.protocol]
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model.train",
        description="Regenerates the tabletop bundle from a seed: world, encoder, features, "
        "multi-task model, backpack, four skills, temperatures. With --data it trains on other "
        "data: in Ego4D's layout with released features, or a data set by name with its videos, "
        "such as table:labels.csv. Rerun it after an interruption: "
        "finished stages are cached, unfinished ones resume from their last epoch or, after "
        "SIGTERM or Ctrl-C, from their last step. "
        "'torchrun --nproc-per-node N -m model.train ...': N processes train together. "
        "'python -m model.train reproduce --help': the paper's tables. "
        "'python -m model.train --learn TASK.toml --help': a new task on a trained bundle. "
        "'python -m model.train compare --help': what the backpack gains on a new task. "
        "'python -m model.train forecast --help': ways to forecast, on label sequences alone. "
        "'python -m model.train render --help': a generated world as features, without videos.",
    )
    parser.add_argument("--smoke", action="store_true", help="runs every stage on a tiny world")
    parser.add_argument(
        "--work", type=Path, help="folder of the cached stages (default: work/NAME)"
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the bundle (default: weights/tabletop or under --work)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="for all random generators (default: %(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=2,
        help="processes and threads, shared by the ranks of torchrun (default: %(default)s)",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        help="cpu, cuda or cuda:N; under torchrun cpu or cuda (default: %(default)s)",
    )
    parser.add_argument(
        "--method", choices=SERVABLE, default="egopack", help="to train (default: %(default)s)"
    )
    parser.add_argument(
        "--protocol",
        choices=list(PROTOCOLS),
        help="of --method egopack; shared (default): one frozen backbone for all skills, one pass "
        "answers every task; paper: each skill on a model of the other tasks, which it fine-tunes "
        "(LTA leaves it frozen)",
    )
    parser.add_argument(
        "--forecaster",
        action=argparse.BooleanOptionalAction,
        help="also train a sequence forecaster, which sees all recognised actions of a clip, and "
        "use it for LTA if it wins on val (default: yes for tabletop, no with --data)",
    )
    add_training_arguments(parser)
    add_table_arguments(parser)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
