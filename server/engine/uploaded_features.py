"""Features uploaded instead of a clip: strict parsing and validation."""

from pathlib import Path

from extract.encoders.encoder import VideoEncoder
from extract.errors import FeatureFileInvalid
from extract.features.track import FeatureTrack
from extract.features.track_check import track_fault
from extract.features.track_file import read_track
from server.errors import FeaturesInvalid, FeaturesTooLong


def read_features(path: Path, encoder: VideoEncoder, *, max_duration_s: float) -> FeatureTrack:
    """Returns the track in a safetensors file of the form that `/v1/features` writes.

    The predictor checks that the bundle's encoder made it. Arguments and errors as `check_track`.
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
    """Checks an uploaded track.

    Args:
        track: the features.
        encoder: defines their width and windows.
        max_duration_s: longest clip that they may stand for.

    Raises:
        FeaturesInvalid: its numbers are not finite, or not those of the encoder's contract.
        FeaturesTooLong: the clip was longer than the limit.
    """
    if track.features.shape[1] != encoder.dim:
        raise FeaturesInvalid(
            f"expected {encoder.dim} numbers in a feature of {encoder.name}, "
            f"got {track.features.shape[1]}"
        )
    if fault := track_fault(track, encoder.contract):
        raise FeaturesInvalid(fault)
    if track.duration_s > max_duration_s:
        raise FeaturesTooLong(
            f"the features are of {track.duration_s:.1f} s, the limit is {max_duration_s:g} s"
        )
