"""Features uploaded instead of a clip: strict parsing and validation."""

import json
import math
from pathlib import Path
from typing import Any

from extract.encoders.encoder import VideoEncoder
from extract.errors import FeatureFileInvalid
from extract.features.track import FeatureTrack
from extract.features.track_check import SAME_RATE, track_fault
from extract.features.track_file import read_track
from extract.windows import count_windows
from server.errors import FeaturesInvalid, FeaturesTooLong

MAX_HEADER_BYTES = 16 * 1024
"""Of a safetensors file: `/v1/features` writes about 600 bytes."""

MAX_FEATURE = 1e12
"""Largest magnitude of a number in a feature: squares of it still add up in float32."""

MAX_FACT_CHARS = 1024
"""Of one value of the header's metadata."""

EXPECTED = (
    "expected safetensors with `features` (L, D) float32, `start_s` and `end_s` (L,) "
    "float64 and the facts that /v1/features writes beside them"
)


def read_features(path: Path, encoder: VideoEncoder, *, max_duration_s: float) -> FeatureTrack:
    """Returns the track in a safetensors file of the form that `/v1/features` writes.

    The predictor checks that the bundle's encoder made it. Arguments and errors as `check_track`.
    """
    rows, width = _declared_shape(path)
    check_shape(rows, width, encoder, max_duration_s=max_duration_s)
    try:
        track = read_track(path)
    except FeatureFileInvalid as error:
        raise FeaturesInvalid(EXPECTED) from error
    check_track(track, encoder, max_duration_s=max_duration_s)
    return track


def most_windows(encoder: VideoEncoder, max_duration_s: float) -> int:
    """Returns how many windows the longest clip has."""
    # One more frame: clocks differ a little from the contract's.
    frames = math.ceil(max_duration_s * (encoder.contract.fps + SAME_RATE)) + 1
    return count_windows(frames, encoder.contract)


def check_shape(rows: int, width: int, encoder: VideoEncoder, *, max_duration_s: float) -> None:
    """Checks the declared shape of features, before they are read.

    Raises:
        FeaturesInvalid: not the encoder's width.
        FeaturesTooLong: more rows than the longest clip has windows.
    """
    if width != encoder.dim:
        raise FeaturesInvalid(
            f"expected {encoder.dim} numbers in a feature of {encoder.name}, got {width}"
        )
    if rows > (most := most_windows(encoder, max_duration_s)):
        raise FeaturesTooLong(
            f"{rows} features came, a clip of {max_duration_s:g} s has at most {most}: the limit "
            f"is {max_duration_s:g} s"
        )


def _declared_shape(path: Path) -> tuple[int, int]:
    """Returns the shape (L, D) that the header of a safetensors file declares for `features`.

    Raises:
        FeaturesInvalid: it declares none, or the header is too large or none at all.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= MAX_HEADER_BYTES:
            raise FeaturesInvalid(f"{EXPECTED}, in a header of at most {MAX_HEADER_BYTES} bytes")
        text = file.read(size)
    try:
        header: dict[str, Any] = json.loads(text)
        rows, width = header["features"]["shape"]
        facts = header["__metadata__"].values()
        is_known = all(type(n) is int and 0 <= n < 2**31 for n in (rows, width))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FeaturesInvalid(EXPECTED) from error
    if not is_known or any(len(str(fact)) > MAX_FACT_CHARS for fact in facts):
        raise FeaturesInvalid(EXPECTED)
    return rows, width


def check_track(track: FeatureTrack, encoder: VideoEncoder, *, max_duration_s: float) -> None:
    """Checks an uploaded track.

    Args:
        track: the features.
        encoder: defines their width and windows.
        max_duration_s: longest clip that they may stand for.

    Raises:
        FeaturesInvalid: its numbers are not finite, or not those of the encoder's contract.
        FeaturesTooLong: the clip was longer than the limit.
    """
    rows, width = track.features.shape
    check_shape(rows, width, encoder, max_duration_s=max_duration_s)
    if fault := track_fault(track, encoder.contract):
        raise FeaturesInvalid(fault)
    if float(track.features.abs().max()) > MAX_FEATURE:
        raise FeaturesInvalid(f"expected features between -{MAX_FEATURE:g} and {MAX_FEATURE:g}")
    if track.duration_s > max_duration_s:
        raise FeaturesTooLong(
            f"the features are of {track.duration_s:.1f} s, the limit is {max_duration_s:g} s"
        )
