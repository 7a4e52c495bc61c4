"""Writes a tabletop world, or a labelled contact sheet, sample clip or labels file of one."""

import argparse
import dataclasses
import os
from pathlib import Path

from tqdm import tqdm

from tabletop.files.contact_sheet import write_sheet
from tabletop.files.extra_labels import LABELLERS, write_labels
from tabletop.files.sample_clip import write_sample
from tabletop.files.world import read_config, write_world
from tabletop.story.script import SMOKE, WorldConfig


class Options(argparse.Namespace):
    """Values of the flags."""

    out: Path | None
    smoke: bool
    seed: int
    workers: int
    sheet: Path | None
    labels: Path | None
    task: str
    sample: Path | None


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tabletop", description=__doc__)
    # fmt: off
    add = parser.add_argument
    add("--out", type=Path, help="folder of the world, to write or to read")
    add("--smoke", action="store_true", help="a tiny world, for tests")
    add("--seed", type=int, default=0,
        help="seed of all random generators (default: %(default)s)")
    add("--workers", type=int, default=os.cpu_count() or 1,
        help="rendering processes (default: one per core)")
    add("--sheet", type=Path, help="picture file for a contact sheet of the world in --out")
    add("--labels", type=Path,
        help="CSV file for the labels of --task: of the world in --out, else of one not written")
    add("--task", choices=list(LABELLERS), default="hand",
        help="task of --labels (default: %(default)s)")
    add("--sample", type=Path, help="folder for a clip of the world in --out and its labels")
    # fmt: on
    arguments = parser.parse_args(namespace=Options())
    config = dataclasses.replace(SMOKE if arguments.smoke else WorldConfig(), seed=arguments.seed)
    if arguments.labels is not None:
        world = config if arguments.out is None else read_config(arguments.out)
        write_labels(arguments.task, world, arguments.labels)
        return
    if arguments.out is None:
        parser.error("--out is missing: the folder of the world")
    if arguments.sheet is not None:
        write_sheet(arguments.out, arguments.sheet)
        return
    if arguments.sample is not None:
        write_sample(arguments.out, config, arguments.sample)
        return
    with tqdm(unit="video", desc="tabletop") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        write_world(arguments.out, config, workers=arguments.workers, progress=show)


if __name__ == "__main__":
    main()
