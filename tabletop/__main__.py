"""Writes a tabletop world, or a labelled contact sheet, sample clip or labels file of one."""

import argparse
import dataclasses
import os
from pathlib import Path

from tqdm import tqdm

from tabletop.files.contact_sheet import write_sheet
from tabletop.files.extra_labels import TOLD, write_labels
from tabletop.files.sample_clip import write_sample
from tabletop.files.world import write_world
from tabletop.story.script import SMOKE, WorldConfig


def main() -> None:
    """Reads the command line and does what it says."""
    parser = argparse.ArgumentParser(prog="python -m tabletop", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the world")
    parser.add_argument("--smoke", action="store_true", help="a tiny world, for tests")
    parser.add_argument("--seed", type=int, default=0, help="of every draw")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--sheet", type=Path, help="write this picture of the world in --out")
    parser.add_argument("--labels", type=Path, help="write a labels file of --task here, no world")
    parser.add_argument("--task", choices=list(TOLD), default="hand", help="what the labels tell")
    parser.add_argument("--sample", type=Path, help="write a clip of --out and its truth here")
    arguments = parser.parse_args()
    config = dataclasses.replace(SMOKE if arguments.smoke else WorldConfig(), seed=arguments.seed)
    if arguments.labels is not None:
        write_labels(arguments.task, config, arguments.labels)
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
