"""Command `python -m model.train`: from a seed, or from data in Ego4D's layout, to a bundle.

Stages: world, encoder, features, multi-task model, backpack, one skill per task, temperatures,
bundle. Each is cached under --work, so a killed run resumes. With torchrun its processes train
together: torchrun --nproc-per-node N -m model.train ...
"""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from extract.errors import ExtractError
from model.config import ForecasterConfig
from model.data.annotations import FEATURES, DataRoot
from model.distributed import ALONE, World, joined, ranks_started
from model.errors import ModelError, Stopped
from model.tasks import AR, LTA
from model.train.datasets.ego4d import prepare_ego4d
from model.train.datasets.rendered import main as render
from model.train.datasets.tabletop import TYPICAL_S, Tabletop
from model.train.effects import check_settings
from model.train.forecast.command import main as forecast
from model.train.forecast.stage import STAGE as FORECASTER_STAGE
from model.train.forecast.stage import TYPICAL_S as FORECASTER_S
from model.train.ledger import Ledger
from model.train.methods.trainer import ALL_TASKS, SERVABLE, has_backpack, parts_of
from model.train.new_skill.command import main as learn
from model.train.new_skill.compare import main as compare
from model.train.options import TrainingOptions, add_training_arguments, check_options, override
from model.train.pipeline import learn_bundle, plan, typical_seconds
from model.train.presets import EGO4D, SMOKE, TABLETOP, Preset
from model.train.reproduce.command import main as reproduce
from tabletop.errors import TabletopError
from weights.bundle import save_bundle
from weights.errors import WeightsError

COMMANDS = {"reproduce": reproduce, "compare": compare, "forecast": forecast, "render": render}
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
    tasks, method = options.tasks, options.method
    parts = parts_of(method, tasks)
    preset = options.preset_of_world
    start = EGO4D[options.preset] if options.data else preset.learning
    learning = override(start, options.settings)
    check_settings(options.settings, learning, plan(parts, tasks))
    folder = options.work or Path("work") / options.name
    if options.forecaster is not None:
        learning = replace(learning, forecaster=ForecasterConfig() if options.forecaster else None)
    typical = typical_seconds(parts, tasks)
    if learning.forecaster is not None:
        typical[FORECASTER_STAGE] = FORECASTER_S
    if options.data is None:
        ledger = Ledger(folder, TYPICAL_S | typical, world)
        prepared = Tabletop(
            preset, folder, ledger, seed=options.seed, workers=options.workers
        ).prepare()
    else:
        ledger = Ledger(folder, typical, world)
        with world.rank_zero_first():  # it packs the features, the others map the pack
            prepared = prepare_ego4d(
                options,
                packed_under=folder,
                has_backpack=has_backpack(method, tasks),
                progress=world.is_first,
            )
    facts: dict[str, object] = {
        "command": _command(options),
        "protocol": options.protocol,
        "threads": options.workers,
    }
    if world.size > 1:
        facts["processes"] = world.size
    bundle = learn_bundle(
        options.name, prepared, learning.with_input_size(prepared.input_size), method, ledger,
        tasks=tasks, seed=options.seed, device=device, training=facts,
    )  # fmt: skip
    if bundle is not None:
        out = options.out or _default_out(options, folder)
        bundle = save_bundle(bundle, out)
        print(f"{out}: {bundle.manifest.name} {bundle.sha256[:12]}")


def _command(options: TrainOptions) -> str:
    """The command that reproduces these weights, without the places of files."""
    words = ["python -m model.train"]
    if options.smoke:
        words.append("--smoke")
    if options.data is not None:
        version = DataRoot.find(options.data, options.version).version
        features = Path(options.features or FEATURES).name
        words += [f"--data ROOT --version {version}", f"--features {features}"]
        words += [f"--preset {options.preset}", f"--lta-windows {options.lta_windows}"]
        words += ["--missing skip"] if options.missing == "skip" else []
    if options.method not in PROTOCOLS.values():
        words.append(f"--method {options.method}")
    elif options.protocol != "shared":
        words.append(f"--protocol {options.protocol}")
    if options.tasks != ALL_TASKS:
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
    if options.forecaster and not {AR.name, LTA.name} <= set(options.tasks):
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
        "multi-task model, backpack, four skills, temperatures. With --data it trains on a data "
        "set in Ego4D's layout and its released features instead. Rerun it after an interruption: "
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
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
