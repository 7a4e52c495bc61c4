"""python -m model.evaluate: every metric of every task, beside answers that never looked."""

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from extract.store import FeatureStore
from model.data.annotations import DataRoot, Split
from model.data.samples import Tracks
from model.data.tracks import read_tracks, videos_of
from model.errors import ModelError
from model.predictor import Predictor
from model.scoring import Metrics, baselines, score_split, split_samples
from model.tables import format_table
from weights.bundle import load_bundle
from weights.errors import WeightsError

SHIPPED = Path("weights/tabletop")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 when the bundle or the data cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m model.evaluate", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=SHIPPED)
    parser.add_argument(
        "--data", type=Path, default=Path("work/tabletop/world"), help="root in Ego4D's layout"
    )
    parser.add_argument("--features", type=Path, help="feature store; filled where incomplete")
    parser.add_argument("--split", action="append", choices=["val", "test"], dest="splits")
    parser.add_argument("--seed", type=int, default=0, help="of LTA's sampled futures")
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    arguments = parser.parse_args(argv)
    try:
        result = evaluate(arguments)
    except (ModelError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    return 0


def evaluate(arguments: argparse.Namespace) -> dict[str, dict[str, Metrics]]:
    """Scores a bundle on the splits asked for and prints a table of each."""
    predictor = Predictor(load_bundle(arguments.bundle))
    data = DataRoot(arguments.data)
    encoder = predictor.encoder
    name = "-".join(filter(None, (encoder.name, encoder.fingerprint[:12])))
    store = FeatureStore(arguments.features or data.features(name))
    calibration = predictor.manifest.calibration
    temperature = {key: value["temperature"] for key, value in calibration.items()}
    splits: list[Split] = arguments.splits or ["val", "test"]
    samples = {}
    for split in ("train", *splits):
        videos = videos_of(data, split)
        with tqdm(total=len(videos), desc=f"features {split}", unit="video") as bar:
            tracks = read_tracks(
                data, videos, store, predictor.encoder, progress=lambda *_, b=bar: b.update()
            )
        samples[split] = split_samples(data, split, Tracks.join(tracks))
    result: dict[str, dict[str, Metrics]] = {}
    for split in splits:
        model = score_split(
            predictor.skills, samples[split], predictor.config, temperature, seed=arguments.seed
        )
        result[split] = {"model": model, **baselines(samples["train"], samples[split])}
        print(format_table(split, result[split]))
    return result


if __name__ == "__main__":
    raise SystemExit(main())
