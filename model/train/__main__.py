"""python -m model.train: from nothing, or from a data set in Ego4D's layout, to a bundle.

With no argument: world -> encoder -> features -> multi-task model -> backpack -> one skill per
task -> temperatures -> bundle. Every stage is kept under --work; a killed run goes on where it was.
Under torchrun its processes train together: torchrun --nproc-per-node N -m model.train ...
"""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

import torch

from extract.errors import ExtractError
from model.data.annotations import FEATURES, DataRoot
from model.distributed import ALONE, World, joined, ranks_started
from model.errors import ModelError, Stopped
from model.train.datasets.ego4d import prepare_ego4d
from model.train.datasets.prepared import Prepared
from model.train.datasets.tabletop import TYPICAL_S, Tabletop
from model.train.effects import check_settings
from model.train.ledger import Ledger
from model.train.methods.trainer import ALL_TASKS, SERVABLE, has_backpack, parts_of
from model.train.new_skill.command import main as learn
from model.train.options import (
    add_data_arguments,
    add_setting_argument,
    add_task_argument,
    check_tasks,
    override,
    settle_data_arguments,
)
from model.train.pipeline import learn_bundle, plan, typical_seconds
from model.train.presets import EGO4D, SMOKE, TABLETOP, Preset
from model.train.reproduce.command import main as reproduce
from tabletop.errors import TabletopError
from weights.bundle import save_bundle
from weights.errors import WeightsError

PROTOCOLS = {"shared": "egopack-shared", "paper": "egopack"}
"""Protocol -> how its skills are learnt."""

EXIT_SIGNAL = 128
"""Added to the number of the signal that ended a run."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 when a stage failed."""
    argv = sys.argv[1:] if argv is None else argv
    learns = any(word.split("=")[0] == "--learn" for word in argv)
    if ranks_started() > 1 and (learns or argv[:1] == ["reproduce"]):
        print("error: start reproduce and --learn with python, not torchrun", file=sys.stderr)
        return 2
    if argv[:1] == ["reproduce"]:
        return reproduce(argv[1:])
    if learns:
        return learn(argv)
    arguments, world = _parse(argv), ALONE
    try:
        with joined(arguments.device) as (world, device):
            level = logging.INFO if world.is_first else logging.WARNING
            logging.basicConfig(level=level, format="%(asctime)s %(message)s", stream=sys.stderr)
            torch.set_num_threads(max(1, arguments.workers // world.neighbours))
            _train(arguments, world, device)
    except Stopped as stop:
        if world.is_first:
            print(stop, file=sys.stderr)
        return EXIT_SIGNAL + stop.signum
    except (ExtractError, ModelError, TabletopError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _train(arguments: argparse.Namespace, world: World, device: str) -> None:
    preset = SMOKE if arguments.smoke else TABLETOP
    name = preset.name if arguments.data is None else f"ego4d-{arguments.preset}"
    folder = arguments.work or Path("work") / name
    method = arguments.method
    if method == "egopack":
        method = PROTOCOLS[arguments.protocol]
    tasks = tuple(arguments.tasks)
    parts = parts_of(method, tasks)
    typical = typical_seconds(parts, tasks)
    start = preset.learning if arguments.data is None else EGO4D[arguments.preset]
    learning = override(start, arguments.settings)
    check_settings(arguments.settings, learning, plan(parts, tasks))
    if arguments.data is None:
        ledger = Ledger(folder, TYPICAL_S | typical, world)
        prepared = _tabletop(preset, folder, ledger, arguments)
    else:
        ledger = Ledger(folder, typical, world)
        with world.rank_zero_first():  # it packs the features, the others map the pack
            prepared = prepare_ego4d(
                arguments.data,
                arguments.features or FEATURES,
                version=arguments.version,
                enumeration=arguments.lta_windows,
                packed_under=folder,
                tasks=tasks,
                has_backpack=has_backpack(method, tasks),
                missing=arguments.missing,
                progress=world.is_first,
            )
        width = prepared.input_size
        learning = replace(learning, model=replace(learning.model, input_size=width))
    facts = {
        "command": _command(arguments, method),
        "protocol": arguments.protocol,
        "threads": arguments.workers,
    }
    if world.size > 1:
        facts["processes"] = world.size
    bundle = learn_bundle(
        name, prepared, learning, method, ledger,
        tasks=tasks, seed=arguments.seed, device=device, training=facts,
    )  # fmt: skip
    if bundle is not None:
        out = arguments.out or _default_out(arguments, folder, method)
        bundle = save_bundle(bundle, out)
        print(f"{out}: {bundle.manifest.name} {bundle.sha256[:12]}")


def _tabletop(
    preset: Preset, folder: Path, ledger: Ledger, arguments: argparse.Namespace
) -> Prepared:
    preset = replace(preset, world=replace(preset.world, seed=arguments.seed))
    run = Tabletop(preset, folder, ledger, seed=arguments.seed, workers=arguments.workers)
    return run.prepare()


def _command(arguments: argparse.Namespace, method: str) -> str:
    """The command that makes these weights again; where files lie does not matter."""
    words = ["python -m model.train"]
    if arguments.smoke:
        words.append("--smoke")
    if arguments.data is not None:
        version = DataRoot.find(arguments.data, arguments.version).version
        features = Path(arguments.features or FEATURES).name
        words += [f"--data ROOT --version {version}", f"--features {features}"]
        words += [f"--preset {arguments.preset}", f"--lta-windows {arguments.lta_windows}"]
        words += ["--missing skip"] if arguments.missing == "skip" else []
    if method in PROTOCOLS.values():
        words += [f"--protocol {arguments.protocol}"] if arguments.protocol != "shared" else []
    else:
        words.append(f"--method {method}")
    if tuple(arguments.tasks) != ALL_TASKS:
        words.append(f"--tasks {' '.join(arguments.tasks)}")
    words += [f"--set {setting}" for setting in arguments.settings]
    if arguments.seed:
        words.append(f"--seed {arguments.seed}")
    return " ".join(words)


def _default_out(arguments: argparse.Namespace, folder: Path, method: str) -> Path:
    """The shipped bundle's folder for the command that made it, else one under --work."""
    if arguments.smoke or arguments.data is not None:
        return folder / "bundle"
    shipped = method == PROTOCOLS["shared"]
    return Path("weights/tabletop") if shipped else folder / f"bundle-{method}"


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model.train",
        description="Regenerates the tabletop bundle from nothing: world, encoder, features, "
        "multi-task model, backpack, four skills, temperatures. With --data it learns from a data "
        "set in Ego4D's layout and its released features instead. Rerun it after an interruption: "
        "finished stages are kept and unfinished ones go on from their last epoch, or, after "
        "SIGTERM or Ctrl-C, from their last step. "
        "'torchrun --nproc-per-node N -m model.train ...': N processes train together. "
        "'python -m model.train reproduce --help': the paper's tables. "
        "'python -m model.train --learn TASK.toml --help': a task of one's own on a bundle.",
    )
    parser.add_argument("--smoke", action="store_true", help="every stage on a tiny world")
    parser.add_argument("--work", type=Path, help="where stages are kept (work/NAME)")
    parser.add_argument("--out", type=Path, help="the bundle's folder (weights/tabletop)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--workers", type=int, default=2, help="processes and threads; torchrun's share them"
    )
    add_task_argument(parser)
    add_setting_argument(parser)
    parser.add_argument(
        "--device", default="cpu", help="cpu, cuda or cuda:N; under torchrun cpu or cuda"
    )
    parser.add_argument(
        "--method", choices=SERVABLE, default="egopack", help="what to learn (egopack)"
    )
    parser.add_argument(
        "--protocol",
        choices=list(PROTOCOLS),
        help="of --method egopack; shared (default): one frozen backbone for all skills, one pass "
        "answers every task; paper: each skill on a model of the other tasks, which it fine-tunes "
        "(LTA leaves it frozen)",
    )
    add_data_arguments(parser)
    arguments = parser.parse_args(argv)
    check_tasks(parser, arguments.tasks, [arguments.method])
    if arguments.data is None:
        unused = ["version", "features", "missing", "preset", "lta-windows"]
        settle_data_arguments(parser, arguments, unused=unused)
    else:
        settle_data_arguments(parser, arguments)
        if arguments.smoke:
            parser.error("--smoke: makes a world of its own, and --data names another")
    if arguments.protocol and arguments.method != "egopack":
        parser.error(f"--protocol: of --method egopack alone, got --method {arguments.method}")
    arguments.protocol = arguments.protocol or "shared"
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
