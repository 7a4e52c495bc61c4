"""Features that a caller sends instead of a clip: read strictly, as they decide every answer."""

from pathlib import Path

import torch

from extract.encoder import VideoEncoder
from extract.errors import FeatureFileInvalid
from extract.track import FeatureTrack
from extract.track_file import read_track
from extract.windows import cut_windows, window_times
from server.errors import FeaturesInvalid, FeaturesTooLong

SAME_TIME_S = 1e-6
SAME_RATE = 0.05
"""Of frames a second: a video that near to the clock's rate is used frame by frame."""


def read_features(path: Path, encoder: VideoEncoder, *, max_duration_s: float) -> FeatureTrack:
    """Returns the track in a file that `/v1/features` could have answered with.

    Whether the bundle's encoder made it is looked at by the predictor.

    Args:
        path: safetensors.
        encoder: whose width and windows the features must have.
        max_duration_s: longest clip that they may stand for.

    Raises:
        FeaturesInvalid: the file is no such track.
        FeaturesTooLong: the clip was longer than the limit.
    """
    try:
        track = read_track(path)
    except FeatureFileInvalid as error:
        raise FeaturesInvalid(
            "expected safetensors with `features` (L, D) float32, `start_s` and `end_s` (L,) "
            "float64 and the facts that /v1/features writes beside them"
        ) from error
    check_track(track, encoder, max_duration_s=max_duration_s)
    return track


def check_track(track: FeatureTrack, encoder: VideoEncoder, *, max_duration_s: float) -> None:
    """Looks at a track that a caller sent.

    Raises:
        FeaturesInvalid: its windows are not those of the encoder's contract.
        FeaturesTooLong: the clip was longer than the limit.
    """
    contract, rows = encoder.contract, len(track.features)
    if track.features.shape[1] != encoder.dim:
        raise FeaturesInvalid(
            f"expected {encoder.dim} numbers in a feature of {encoder.name}, "
            f"got {track.features.shape[1]}"
        )
    if not torch.isfinite(track.features).all():
        raise FeaturesInvalid("expected finite features, got an infinity or what is no number")
    if (track.fps, track.stride_frames) != (contract.fps, contract.stride_frames):
        raise FeaturesInvalid(
            f"expected windows every {contract.stride_frames} frames at {contract.fps} fps, "
            f"got every {track.stride_frames} at {track.fps:g}"
        )
    if abs(track.ticks_per_s - contract.fps) > SAME_RATE:
        raise FeaturesInvalid(
            f"expected about {contract.fps} frames a second, got ticks_per_s {track.ticks_per_s:g}"
        )
    if track.num_frames < 1:
        raise FeaturesInvalid(f"expected at least one frame, got {track.num_frames}")
    if track.duration_s > max_duration_s:
        raise FeaturesTooLong(
            f"the features are of {track.duration_s:.1f} s, the limit is {max_duration_s:g} s"
        )
    window = contract.window_frames
    starts = cut_windows(
        track.num_frames, window_frames=window, stride_frames=contract.stride_frames
    )
    if len(starts) != rows or track.is_padded != (track.num_frames < window):
        raise FeaturesInvalid(
            f"{track.num_frames} frames make {len(starts)} windows, the track has {rows}"
        )
    times = window_times(
        starts,
        fps=track.ticks_per_s,
        window_frames=window,
        num_frames=track.num_frames,
        origin_s=track.origin_s,
    )
    for name, given, due in zip(
        ("start_s", "end_s"), (track.start_s, track.end_s), times, strict=True
    ):
        if given.dtype != due.dtype or not torch.allclose(given, due, rtol=0, atol=SAME_TIME_S):
            raise FeaturesInvalid(f"expected `{name}` as float64 seconds of those windows")
