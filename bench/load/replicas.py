"""Ray benchmark: two encoder replicas against one, and reasoning in the encoder or the front end.

Each replica has one thread, and rounds alternate. Scaling is measured with the shipped encoder,
which spends 7 ms on the 0.6 MB of a window, so that copying counts and the driver competes for the
cores; and with a deeper one, where the network dominates, as with the published ones.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from bench.load.checks import Check, judged, lines
from bench.load.clips import STANDARD, good_clips
from bench.rivals import calls
from extract.encoders.load import encoder_from_spec, encoder_spec
from extract.encoders.swin.trunk import SwinConfig, build_trunk
from extract.encoders.torch_encoder import TorchEncoder
from model.predict.predictor import Predictor
from server.settings.settings import Settings
from weights import SHIPPED_BUNDLE
from weights.bundle import load_bundle, save_bundle

GOAL = 1.8
"""Throughput of two encoders, in those of one."""

DEEPER = 32
"""Blocks a stage of the encoder that is bound by a processor, in those of the shipped one: 0.15 s a
window, of which Swin-L would take 13."""

BATCH_WINDOWS = 64
"""In a batch, as the engine makes them by default."""

CALLERS = 12
"""Clips under way at once where reasoning is measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this mode's flags."""
    parser.add_argument("--rounds", type=int, default=5, help="of each side (default: 5)")
    parser.add_argument(
        "--batches", type=int, default=4, help="of the shipped encoder, in a round (default: 4)"
    )
    parser.add_argument("--clips", type=int, default=24, help="in a round (default: 24)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures and returns the figures."""
    predictor = calls.load(SHIPPED_BUNDLE, 1)
    (clip,) = good_clips(STANDARD)
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(clip.body)
        file.flush()
        decoded = calls.decode(predictor, Path(file.name))
    windows_per_s = {}
    with tempfile.TemporaryDirectory() as folder, _ray():
        for name, bundle in (("shipped", SHIPPED_BUNDLE), ("deeper", _deeper(Path(folder)))):
            with _encoders(bundle, 1, 2) as pools:
                batches = arguments.batches if name == "shipped" else 1
                ways = _scaling(pools, decoded[1], batches)
                windows_per_s[name] = _duel(ways, arguments.rounds, f"encoders, {name}")
        with _encoders(SHIPPED_BUNDLE, 1) as pools, _together() as together:
            places = _places(predictor, decoded, pools[1], together, arguments.clips)
            clips_per_s = _duel(places, arguments.rounds, "reasoning")
    ratios = {name: round(rates["2"] / rates["1"], 3) for name, rates in windows_per_s.items()}
    check = Check("two encoders beside one, deeper", f"at least {GOAL} times",
                  f"{ratios['deeper']} times", ratios["deeper"] >= GOAL)  # fmt: skip
    return {
        "cores": len(os.sched_getaffinity(0)),
        "deeper": DEEPER,
        "windows_per_s": windows_per_s,
        "ratio": ratios,
        "clips_per_s_by_place_of_reasoning": clips_per_s,
        **judged([check]),
    }


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    rates = figures["windows_per_s"]
    places = figures["clips_per_s_by_place_of_reasoning"]
    return "\n".join(
        [
            *(
                f"{name}, {count} encoder(s): {rate:.1f} windows/s"
                for name, of_count in rates.items()
                for count, rate in of_count.items()
            ),
            *(f"{name}: {ratio:.2f} times" for name, ratio in figures["ratio"].items()),
            *(f"reasoning {place}: {rate:.2f} clips/s" for place, rate in places.items()),
            *lines(figures),
        ]
    )


def _deeper(folder: Path) -> Path:
    """Writes a bundle whose encoder is the shipped one but for depth, and has random weights."""
    bundle = load_bundle(SHIPPED_BUNDLE)
    shipped = encoder_from_spec(bundle.manifest.encoder, bundle.encoder)
    assert isinstance(shipped.config, SwinConfig)
    config = replace(shipped.config, depths=tuple(DEEPER * n for n in shipped.config.depths))
    torch.manual_seed(0)
    encoder = TorchEncoder("deeper", config, shipped.contract, build_trunk(config))
    manifest = replace(bundle.manifest, encoder=encoder_spec(encoder))
    made = replace(bundle, manifest=manifest, encoder=encoder.state_dict(), encoder_onnx=b"")
    save_bundle(made, folder / "deeper")
    return folder / "deeper"


def _scaling(pools: dict[int, Any], windows: Tensor, batches: int) -> dict[str, Callable[[], int]]:
    """Alternatives to encode batches, one after the other as the engine's thread does."""
    batch = windows.repeat(-(-BATCH_WINDOWS // len(windows)), 1, 1, 1, 1)[:BATCH_WINDOWS]

    def encode(pool: Any) -> int:
        for _ in range(batches):
            pool[0].encode(batch, pool[1])
        return batches * len(batch)

    return {str(count): lambda pool=pool: encode(pool) for count, pool in pools.items()}  # type: ignore[misc]


def _places(
    predictor: Predictor, decoded: Any, pool: Any, together: Any, count: int
) -> dict[str, Callable[[], int]]:
    """Alternatives to answer clips, a few at once, with one encoder process."""
    import ray

    clip, windows = decoded
    one_at_a_time = threading.Lock()  # as the engine's one thread

    def apart(_: int) -> None:
        features = pool[0].encode(windows, pool[1])
        with one_at_a_time:
            calls.reason(predictor, [calls.track_of(predictor, clip, features)])

    def in_one(_: int) -> None:
        shared = ray.put(windows.numpy())
        together.remote(shared, len(clip.frames)).result(timeout_s=120)

    def answer(one: Callable[[int], None]) -> int:
        with ThreadPoolExecutor(CALLERS) as callers:
            return len(list(callers.map(one, range(count))))

    return {"in the front end": lambda: answer(apart), "in the encoder": lambda: answer(in_one)}


def _duel(ways: dict[str, Callable[[], int]], rounds: int, label: str) -> dict[str, float]:
    """Returns the throughput of each alternative per second: the median of its rounds."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in tqdm(range(rounds + 1), desc=label, unit="round"):
        for name, way in ways.items():
            started_s = time.perf_counter()
            done = way()
            if turn:
                rates[name].append(done / (time.perf_counter() - started_s))
    return {name: round(statistics.median(values), 2) for name, values in rates.items()}


@contextmanager
def _ray() -> Iterator[None]:
    """A cluster of this machine, with Serve."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
        from ray import serve

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
        yield
    finally:
        serve.shutdown()
        ray.shutdown()


@contextmanager
def _encoders(bundle: Path, *counts: int) -> Iterator[dict[int, Any]]:
    """Yields so many encoders for each count, as (pool, facts)."""
    from ray import serve

    from server.cluster.app import encoder_deployment
    from server.cluster.messages import Tuning
    from server.cluster.remote_encoder import EncoderPool

    pools = {}
    sha256 = load_bundle(bundle).sha256
    for count in counts:
        settings = Settings(bundle=bundle, encoders=count, runtime="torch", log_level="warning")
        target = encoder_deployment(settings, Tuning())
        handle = serve.run(target, name=f"encoders-{count}", route_prefix=None)
        pool = EncoderPool(handle, shares=count, timeout_s=120)
        pools[count] = (pool, pool.describe(sha256))
    yield pools
    for count in counts:
        serve.delete(f"encoders-{count}")


@contextmanager
def _together() -> Iterator[Any]:
    """Yields a function that calls one process that encodes and reasons."""
    from ray import serve

    target = serve.deployment(Together, max_ongoing_requests=64).bind()
    yield serve.run(target, name="together", route_prefix=None).answer
    serve.delete("together")


class Together:
    """A replica that encodes and reasons, one clip after the other."""

    def __init__(self) -> None:
        self._predictor = calls.load(SHIPPED_BUNDLE, 1)
        self._thread = ThreadPoolExecutor(1)

    async def answer(self, windows: Any, num_frames: int) -> Any:
        """Answers one clip."""
        import asyncio

        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._run, windows, num_frames)

    def _run(self, windows: Any, num_frames: int) -> Any:
        from extract.features.extractor import track_from

        encoder = self._predictor.encoder
        features = encoder.encode(torch.tensor(windows))
        track = track_from(features, num_frames, encoder, "clip")
        return calls.reason(self._predictor, [track])
