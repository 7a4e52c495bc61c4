"""The least that a live stream costs: decoding and encoding in this process, on one thread."""

import os
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from bench.live.streams import RATE
from extract.contract import FeatureContract
from extract.decode.clip import Limits
from extract.decode.live.decode import decode_live
from extract.decode.live.protocol import PICTURE_HEAD
from extract.features.extractor import track_from
from model.predict.predictor import Predictor, PredictRequest
from weights import SHIPPED_BUNDLE

BATCH = 16
"""Windows, and requests, at once: more than a server under this load ever has."""

SECONDS = 10
SEGMENT_S = 8.0


def floor(images: Sequence[bytes]) -> dict[str, float]:
    """Returns ms of a core for a second of one stream, by what they are spent on.

    Decoding is of the pictures that windows look at; `decode_all_ms` would be of all.

    Args:
        images: pictures of the stream, over and over.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        predictor = Predictor.from_bundle(SHIPPED_BUNDLE)
        contract = predictor.encoder.contract
        windows_s = contract.fps / contract.stride_frames
        frames = contract.window_frames // contract.frame_step
        shape = (BATCH, frames, *contract.frame_shape)
        windows = torch.randint(0, 255, shape, dtype=torch.uint8)
        encoded = _cpu_s(lambda: predictor.encoder.encode(windows)) / BATCH
        requests = [_request(predictor)] * BATCH
        reasoned = _cpu_s(lambda: predictor.predict(requests)) / BATCH
        decoded = _cpu_s(lambda: _decode(images, contract, takes_all=False)) / SECONDS
        all_decoded = _cpu_s(lambda: _decode(images, contract, takes_all=True)) / SECONDS
    finally:
        torch.set_num_threads(threads)
    return {
        "decode_ms": round(1000 * decoded, 2),
        "decode_all_ms": round(1000 * all_decoded, 2),
        "encode_ms": round(1000 * encoded * windows_s, 2),
        "reason_ms": round(1000 * reasoned * windows_s, 2),
    }


def _request(predictor: Predictor) -> PredictRequest:
    """The present of a stream, as it is asked with every window: two segments, no forecast."""
    contract = predictor.encoder.contract
    frames = int(2 * SEGMENT_S * contract.fps)
    rows = 1 + (frames - contract.window_frames) // contract.stride_frames
    track = track_from(torch.randn(rows, predictor.encoder.dim), frames, predictor.encoder, "live")
    segments = ((0.0, SEGMENT_S), (SEGMENT_S, 2 * SEGMENT_S))
    present = frozenset(predictor.tasks) - predictor.forecasts
    return PredictRequest(track, present, segments=segments, has_evidence=False)


class _Nothing:
    """Takes pictures, and keeps none."""

    def begin(self, start_s: float, ticks_per_s: float) -> None:
        pass

    def append(self, picture: np.ndarray, ticks: int, taken: int) -> None:
        pass

    def repeat(self, ticks: int, taken: int, *, is_awaited: bool) -> None:
        pass

    def amend(self, picture: np.ndarray, back: int) -> None:
        pass


def _decode(images: Sequence[bytes], contract: FeatureContract, *, takes_all: bool) -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            for k in range(SECONDS * RATE):
                data = images[k % len(images)]
                file.write(PICTURE_HEAD.pack(k / RATE, len(data)) + data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        decode_live(
            reading,
            "pictures",
            contract,
            Limits(),
            _Nothing(),
            rate=RATE,
            takes_all=takes_all,
        )
    finally:
        os.close(reading)
        writer.join()


def _cpu_s(work: Callable[[], object], times: int = 3) -> float:
    """The least CPU time of a few repetitions, after one to warm up."""
    work()
    spent = []
    for _ in range(times):
        begun_s = time.process_time()
        work()
        spent.append(time.process_time() - begun_s)
    return min(spent)
