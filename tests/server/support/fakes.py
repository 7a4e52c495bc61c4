"""A predictor and decoders one can compute by hand: a clip is a line of text.

`clip 60 100` is 60 frames of grey level 100; `reject damaged` is refused; see `FakePool`.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch

from extract.contract import FeatureContract
from extract.decode.clip import ClipInfo, DecodedClip, Notice, Prepare
from extract.errors import DecoderDied, DecoderUnavailable, DecodeTimeout, VideoRejected
from model.errors import SearchInvalid
from model.nodes import Bounds, cut_track
from model.predict import outputs
from model.predict.predictor import Predictor, PredictRequest
from model.predict.search import PrototypeMatches, SearchQuery
from model.tasks import TASKS as ALL_TASKS
from server.engine.engine import Engine
from server.engine.health import CANARY
from server.settings.settings import Settings
from server.telemetry.telemetry import Telemetry
from weights.bundle.manifest import Manifest

CONTRACT = FeatureContract(crop_height=4, crop_width=4, short_side=4, resize="decoder")
_STATES = tempfile.TemporaryDirectory(prefix="egopack-test-")
"""Every app under test has a state folder of its own in here."""

TASKS = ("ar", "lta", "oscc", "pnr")
PERSPECTIVES = ("oscc", "pnr", "lta")


def clip(frames: int = 60, grey: int = 100) -> bytes:
    return f"clip {frames} {grey}".encode()


class FakeEncoder:
    """A feature is the mean grey level, four times."""

    name = "fake"
    dim = 4
    contract = CONTRACT
    fingerprint = "f" * 64

    def __init__(self) -> None:
        self.batches: list[int] = []

    def encode(self, windows: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(windows))
        return windows.float().mean(dim=(1, 2, 3, 4)).unsqueeze(1).repeat(1, self.dim)


class FakePredictor:
    """Says how grey a clip is; `before_predict` lets a test hold the model's thread."""

    name, version, sha256 = "fake", "1", "a" * 64
    tasks = TASKS
    device = "cpu"
    reach = 1
    look_back = 0
    forecasts = frozenset({"lta"})

    def __init__(self) -> None:
        self.encoder = FakeEncoder()
        self._released = None
        self.backbone_passes = 0
        self.batches: list[int] = []
        self.before_predict: Callable[[], Any] = lambda: None
        self.manifest = Manifest(
            name=self.name,
            version=self.version,
            encoder={"name": "fake"},
            model={},
            backbones={},
            skills={
                t: {
                    "backbone": "shared",
                    "perspectives": list(PERSPECTIVES),
                    "spec": ALL_TASKS[t].to_dict(),
                }
                for t in TASKS
            },
            label_spaces={"verb": ["take", "put"], "noun": ["cup", "knife"]},
            training={"licence": "Apache-2.0"},
            metrics={"test": {"ar": {"verb_top1": 0.5}, "note": "text"}, "comment": "text"},
        )

    check = Predictor.check

    @property
    def backpacks(self) -> "FakePredictor":
        return self

    def search(
        self, request: PredictRequest, look: SearchQuery
    ) -> tuple[list[Bounds], PrototypeMatches]:
        self.check(request)
        cut = cut_track(request.track, request.segments, request.segment_s)
        return cut, PrototypeMatches("shared", [_nearest(look) for _ in cut])

    def of_action(self, verb: str, noun: str, look: SearchQuery) -> PrototypeMatches:
        if (verb, noun) != ("take", "cup"):
            raise SearchInvalid("noun", "no prototype")
        return PrototypeMatches("shared", [_nearest(look)])

    def predict(self, requests: list[PredictRequest]) -> list[outputs.Prediction]:
        self.before_predict()
        self.backbone_passes += 1
        self.batches.append(len(requests))
        return [self._answer(request) for request in requests]

    def _answer(self, request: PredictRequest) -> outputs.Prediction:
        grey = float(request.track.features.mean()) / 255
        segments = cut_track(request.track, request.segments, request.segment_s)
        lta = None
        if "lta" in request.tasks:
            action = outputs.LtaStep(_ranked(grey, request), _ranked(grey, request))
            lta = outputs.LtaAnswer([0], [action] * 20, [[("put", "cup")] * 20] * 5, _evidence())
        return outputs.Prediction([_segment(pair, grey, request) for pair in segments], lta)


def _segment(
    pair: tuple[float, float], grey: float, request: PredictRequest
) -> outputs.SegmentAnswer:
    asked = request.tasks
    scores = [grey] * 16
    ar = outputs.ArAnswer(_ranked(grey, request), _ranked(grey, request))
    return outputs.SegmentAnswer(
        *pair,
        ar=ar if "ar" in asked else None,
        oscc=outputs.OsccAnswer(grey > 0.5, grey) if "oscc" in asked else None,
        pnr=outputs.PnrAnswer(pair[0], grey, scores) if "pnr" in asked else None,
        evidence=_evidence(),
    )


def _ranked(grey: float, request: PredictRequest) -> list[outputs.Ranked]:
    labels = [outputs.Ranked(0, "take", grey), outputs.Ranked(1, "put", 1 - grey)]
    return labels[: request.top_k]


def _nearest(look: SearchQuery) -> dict[str, list[outputs.Neighbour]]:
    near = [outputs.Neighbour("take", "cup", 0.9, 3)] * min(look.top_k, 4)
    return dict.fromkeys(look.perspectives or PERSPECTIVES, near)


def _evidence() -> outputs.Evidence:
    near = [outputs.Neighbour("take", "cup", 0.9, 3)]
    return outputs.Evidence({"ar": {"oscc": near}}, {"ar.verb": {"own": "take", "oscc": "put"}})


class FakePool:
    """Decodes the lines of text.

    `clip N GREY [FPS]` · `reject CODE` · `die` · `die-once` · `slow SECONDS` ·
    `timeout WALL_SECONDS` · `unavailable` · `bug`; anything else is not a video.
    """

    def __init__(self) -> None:
        self.decoded = 0
        self.deaths = 0
        self.asked_track: int | None = None
        self.is_closed = False
        self.hold: Callable[[], Any] = lambda: None

    def start(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def decode(
        self,
        path: Path,
        contract: FeatureContract,
        *,
        timeout_s: float | None = None,
        video_track: int | None = None,
        prepare: Prepare | None = None,
    ) -> DecodedClip:
        data = path.read_bytes()
        if path == CANARY:
            return make_clip(33, 50)
        self.asked_track = video_track
        self.hold()
        match data.decode("latin-1").split():
            case ["clip", frames, grey, *fps]:
                self.decoded += 1
                rate = float(fps[0]) if fps else 30.0
                return make_clip(int(frames), int(grey), rate, video_track)
            case ["reject", code]:
                raise VideoRejected(code, "a plain sentence")  # type: ignore[arg-type]
            case ["die-once"] if self.deaths:
                return make_clip(60, 100)
            case ["die" | "die-once"]:
                self.deaths += 1
                raise DecoderDied(f"signal 11 on {path}")
            case ["slow", seconds]:
                time.sleep(float(seconds))
                return make_clip(60, 100)
            case ["timeout", wall_s]:
                time.sleep(min(float(wall_s), timeout_s or 60))
                raise DecodeTimeout(f"{path} took {timeout_s}")
            case ["unavailable"]:
                raise DecoderUnavailable("fork failed")
            case ["bug"]:
                raise RuntimeError(f"secret of {path}")
        raise VideoRejected("not-a-video", "the bytes are no video")


def make_clip(
    frames: int, grey: int, fps: float = 30.0, video_track: int | None = None
) -> DecodedClip:
    """A clip of `frames` on the 30 fps clock, from a source of `fps`."""
    times_s = np.arange(frames) / 30
    source = np.floor(times_s * fps + 1e-6).astype(np.int64)
    notices = () if fps == 30 else (Notice(f"resampled-from-{fps:g}fps", "resampled"),)
    return DecodedClip(
        info=ClipInfo(
            start_s=0.0,
            duration_s=frames / 30,
            ticks_per_s=30.0,
            fps=fps,
            width=64,
            height=48,
            rotation=0,
            mirrored=False,
            video_track=video_track or 0,
            video_tracks=1,
            codec="h264",
            container="mp4",
            frames_declared=int(source[-1]) + 1,
            frames_decoded=int(source[-1]) + 1,
            reader="decord",
        ),
        frames=np.full((frames, 4, 4, 3), grey, np.uint8),
        source_frames=source,
        source_times_s=source / fps,
        notices=notices,
    )


def make_engine(
    settings: Settings,
    predictor: FakePredictor | None = None,
    pool: FakePool | None = None,
    telemetry: Telemetry | None = None,
) -> Engine:
    model: Any = predictor or FakePredictor()
    fake: Any = pool or FakePool()
    return Engine(settings, load=lambda: model, pool=fake, telemetry=telemetry)


def make_settings(**values: Any) -> Settings:
    state_dir = Path(_STATES.name) / uuid4().hex
    # The apps are asked under made-up names.
    given = {"decode_workers": 2, "state_dir": state_dir, "allowed_hosts": "*", **values}
    return Settings(**given)


def lose_the_device() -> None:
    raise torch.AcceleratorError("an illegal memory access")


if __name__ == "__main__":  # a server process with a fake model, for tests of its life
    import json
    import signal
    import sys

    from server.api.serve import serve

    given = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    settings = make_settings(**{"port": 0, "max_upload_mb": 8, "drain_delay_s": 0} | given)
    model = FakePredictor()
    signal.signal(signal.SIGUSR1, lambda *_: setattr(model, "before_predict", lose_the_device))
    sys.exit(1 if serve(settings, make_engine(settings, model)) else 0)
