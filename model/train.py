"""python -m model.train: from nothing to a bundle.

World -> encoder -> features -> multi-task model -> backpack -> one skill per task ->
temperatures -> bundle. Every stage is kept under --work; a killed run goes on where it was.
"""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

import torch

from extract.errors import ExtractError
from model.errors import ModelError
from model.learn import main as learn
from model.presets import SMOKE, TABLETOP
from model.run import Run
from weights.bundle import save_bundle
from weights.errors import WeightsError


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 when a stage failed."""
    given = sys.argv[1:] if argv is None else argv
    if any(word.split("=")[0] == "--learn" for word in given):
        return learn(given)
    arguments = _parse(given)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    preset = SMOKE if arguments.smoke else TABLETOP
    preset = replace(preset, world=replace(preset.world, seed=arguments.seed))
    folder = arguments.work or Path("work") / preset.name
    out = arguments.out or (folder / "bundle" if arguments.smoke else Path("weights/tabletop"))
    torch.set_num_threads(arguments.workers)
    try:
        bundle = Run(preset, folder, seed=arguments.seed, workers=arguments.workers).bundle()
        bundle = save_bundle(bundle, out)
    except (ExtractError, ModelError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{out}: {bundle.manifest.name} {bundle.sha256[:12]}")
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model.train",
        description="Regenerates the tabletop bundle from nothing: world, encoder, features, "
        "multi-task model, backpack, four skills, temperatures. Rerun it after an interruption: "
        "finished stages are kept and unfinished ones go on from their last epoch. "
        "A task of one's own on a bundle: 'python -m model.train --learn TASK.toml --help'.",
    )
    parser.add_argument("--smoke", action="store_true", help="every stage on a tiny world")
    parser.add_argument("--work", type=Path, help="where stages are kept (work/NAME)")
    parser.add_argument("--out", type=Path, help="the bundle's folder (weights/tabletop)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes and threads")
    parser.add_argument(
        "--protocol",
        choices=["shared"],
        default="shared",
        help="one frozen backbone for all skills: one pass answers every task",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
