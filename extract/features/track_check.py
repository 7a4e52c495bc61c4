"""Validation of features: finite, of the expected encoder, and of windows that match the video.

`track_fault` checks one track by itself; `FeatureCheck` the feature files of one set, each by
itself, against the others, and against the lengths and annotations of the videos.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from extract.contract import OMNIVORE, FeatureContract
from extract.encoders.precomputed import MADE_BY
from extract.errors import FeatureFileInvalid
from extract.features.store import StoredRows
from extract.features.track import EncoderId, FeatureTrack, window_times
from extract.features.track_file import regular_length
from extract.windows import count_windows

logger = logging.getLogger(__name__)

SAME_TIME_S = 1e-6
SAME_RATE = 0.05
"""Frames a second: a video within that of the clock's rate is used frame by frame."""

LONGEST_REST = 1.75
"""Greatest length of a video, in multiples of its annotated part. Where every video of a set is
longer, the rows are closer than 16 frames: 9 or fewer."""


@dataclass(frozen=True)
class Kind:
    """Encoder, width and type that the feature files of one set have in common.

    Attributes:
        encoder: that made them.
        width: D_in.
        dtype: "float32" or "float16".
    """

    encoder: EncoderId
    width: int
    dtype: str

    @classmethod
    def of(cls, features: Tensor, encoder: EncoderId) -> "Kind":
        """Returns the kind of features, (L, D_in)."""
        dtype = str(features.dtype).removeprefix("torch.")
        return cls(encoder, features.shape[1], dtype)

    def __str__(self) -> str:
        name, made_by = self.encoder.name, self.encoder.fingerprint[:12] or "an unnamed encoder"
        return f"{name} by {made_by}, {self.width} numbers a row in {self.dtype}"


@dataclass(frozen=True)
class Needed:
    """Features that a bundle needs.

    Attributes:
        width: D_in.
        encoder: that must have made them; without fingerprint for a released set.
    """

    width: int
    encoder: EncoderId

    def fault_of(self, kind: Kind) -> str | None:
        """Returns why features of a kind do not fit, as a clause after a file's name, or None."""
        if kind.width != self.width:
            return f"holds vectors of {kind.width} numbers, this bundle needs {self.width}"
        found, expected = kind.encoder, self.encoder
        if not found.fingerprint:  # a bare tensor does not name its encoder
            return None
        fits = found.fingerprint == expected.fingerprint
        if not expected.fingerprint:  # a folder that is no released set may be of any encoder
            fits = found.name == MADE_BY.get(expected.name, found.name)
        if fits:
            return None
        return (
            f"holds features of {found.name} {found.fingerprint[:12]}, this bundle needs "
            f"{expected.name} {expected.fingerprint[:12]}".rstrip()
        )


@dataclass(frozen=True)
class Annotated:
    """Extent of the annotations in a video.

    Attributes:
        start_frame: first frame of the segment that begins last.
        end_frame: frame after the last one of any segment.
        where: names the segment that begins last.
    """

    start_frame: int
    end_frame: int
    where: str


def track_fault(track: FeatureTrack, contract: FeatureContract = OMNIVORE) -> str | None:
    """Returns what is wrong with a track by itself, as a sentence without its name, or None.

    Its numbers must be finite, and its rows and times those that its frames have under a contract.
    """
    if not bool(torch.isfinite(track.features).all()):
        return "expected finite features, got an infinity or what is no number"
    if (track.fps, track.stride_frames) != (contract.fps, contract.stride_frames):
        return (
            f"expected windows every {contract.stride_frames} frames at {contract.fps} fps, "
            f"got every {track.stride_frames} at {track.fps:g}"
        )
    if abs(track.ticks_per_s - contract.fps) > SAME_RATE:
        return (
            f"expected about {contract.fps} frames a second, got ticks_per_s {track.ticks_per_s:g}"
        )
    if track.num_frames < 1:
        return f"expected at least one frame, got {track.num_frames}"
    count = count_windows(track.num_frames, contract)
    is_padded = track.num_frames < contract.window_frames
    if count != len(track.features) or track.is_padded != is_padded:
        return (
            f"{track.num_frames} frames make {count} windows, the track has {len(track.features)}"
        )
    due = window_times(track.num_frames, contract, track.ticks_per_s, track.origin_s)
    for name, given, time in zip(
        ("start_s", "end_s"), (track.start_s, track.end_s), due, strict=True
    ):
        if given.dtype != time.dtype or not torch.allclose(given, time, rtol=0, atol=SAME_TIME_S):
            return f"expected `{name}` as float64 seconds of those windows"
    return None


class FeatureCheck:
    """Checks the feature files of one set, one after the other.

    Attributes:
        kind: of all files: that of the first one.

    Args:
        needed: what a bundle needs.
        lengths: video -> frames at 30 a second, as metadata states them.
        annotated: video -> extent of its annotations.
        contract: how windows must have been cut.
        remedy: how to obtain the lengths of videos, for messages.
    """

    def __init__(
        self,
        *,
        needed: Needed | None = None,
        lengths: Mapping[str, int] | None = None,
        annotated: Mapping[str, Annotated] | None = None,
        contract: FeatureContract = OMNIVORE,
        remedy: str = "",
    ) -> None:
        self.kind: Kind | None = None
        self._needed = needed
        self._lengths = lengths or {}
        self._annotated = annotated or {}
        self._contract = contract
        self._remedy = remedy
        self._has_length = False
        self._ratios: dict[str, tuple[float, str]] = {}

    def file(self, video: str, rows: StoredRows) -> int:
        """Checks a video's file; returns the length of the video in frames.

        Raises:
            FeatureFileInvalid: the file is damaged, of another kind than the others or the needed
                one, or not of the whole video with a row every 16 frames; names the file.
        """
        if rows.track is not None:
            return self.track(video, rows.place, rows.track)
        self.same(rows.place, Kind.of(rows.features, rows.encoder))
        if not bool(torch.isfinite(rows.features).all()):
            raise FeatureFileInvalid(f"{rows.place}: holds values that are not finite")
        return self.count(video, rows.place, len(rows.features), None)

    def track(self, video: str, place: str, track: FeatureTrack) -> int:
        """Checks a track that states its encoder and times; otherwise as `file` does.

        Raises:
            FeatureFileInvalid: as `file` does.
        """
        self.same(place, Kind.of(track.features, track.encoder))
        if fault := track_fault(track, self._contract):
            raise FeatureFileInvalid(f"{place}: {fault}")
        return self.count(video, place, len(track.features), track.num_frames)

    def same(self, place: str, kind: Kind) -> None:
        """Checks that a file, or a pack of them, is of the kind of the others and the needed one.

        Raises:
            FeatureFileInvalid: it is not.
        """
        if self._needed is not None and (fault := self._needed.fault_of(kind)):
            raise FeatureFileInvalid(f"{place} {fault}")
        self.kind = self.kind or kind
        if kind != self.kind:
            raise FeatureFileInvalid(
                f"{place}: expected what the others are, {self.kind}; got {kind}. One folder holds "
                "one set: move other files elsewhere"
            )

    def count(self, video: str, place: str, rows: int, num_frames: int | None) -> int:
        """Compares a number of rows with the video's facts; returns its length in frames.

        Metadata and decoder may disagree by a few frames, hence by one window; more means another
        stride, as in faulty files of an early release, or another video.

        Args:
            video: which.
            place: of its rows.
            rows: how many.
            num_frames: length of the video where the file itself states it.

        Raises:
            FeatureFileInvalid: they are not the rows of the whole video.
        """
        stated = self._lengths.get(video, 0)
        length = num_frames or regular_length(rows)
        if (made := count_windows(length, self._contract)) != rows:
            raise FeatureFileInvalid(f"{place}: {length} frames make {made} windows, not {rows}")
        if stated > 0:
            expected = count_windows(stated, self._contract)
            if abs(expected - rows) > 1:
                raise FeatureFileInvalid(
                    f"{place}: {stated} frames make {expected} windows of "
                    f"{self._contract.window_frames} every {self._contract.stride_frames}, "
                    f"the file has {rows}"
                )
            if num_frames is None and expected == rows:
                length = stated
        annotated = self._annotated.get(video)
        if annotated is not None:
            self._compare(place, rows, length, annotated)
            self._ratios[video] = (length / max(1, annotated.end_frame), place)
        self._has_length |= stated > 0 or num_frames is not None
        return length

    def finish(self) -> None:
        """Checks the set as a whole, after all its files.

        Raises:
            FeatureFileInvalid: no length of a video is known, and every video would exceed
                `LONGEST_REST`, so that rows must be closer than 16 frames.
        """
        if self._has_length or not self._ratios:
            return
        least, place = min(self._ratios.values())
        if least > LONGEST_REST:
            remedy = f": {self._remedy}" if self._remedy else ""
            raise FeatureFileInvalid(
                f"{place} and {len(self._ratios) - 1} more: with a row every "
                f"{self._contract.stride_frames} frames, every video would be at least "
                f"{least:.1f} times as long as the part of it that is annotated. These are "
                "features of a smaller stride, such as omnivore_image_swinl (5 frames) or an "
                "early release (6). If they are not, their videos' lengths must be known: in "
                f"ego4d.json{remedy}, or in .safetensors files of python -m extract"
            )
        logger.warning(
            "%s and %d more: the lengths of their videos are not known, rows were compared with "
            "annotations alone%s",
            place,
            len(self._ratios) - 1,
            f"; ego4d.json states them: {self._remedy}" if self._remedy else "",
        )

    def _compare(self, place: str, rows: int, length: int, annotated: Annotated) -> None:
        if annotated.start_frame >= length:
            raise FeatureFileInvalid(
                f"{place}: {rows} rows, one every {self._contract.stride_frames} frames, end with "
                f"frame {length - 1}, but {annotated.where} begins at frame "
                f"{annotated.start_frame} of this video: expected features of the whole video"
            )
