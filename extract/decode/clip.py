"""Values of decoding: limits, facts of a clip, notices and decoded frames."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

Reader = Literal["decord", "pyav", "nvdec"]
ReaderChoice = Literal["auto", "decord", "pyav", "nvdec"]
"""`auto`: decord for short clips that it reads correctly, PyAV for the rest and streams, which it
reads in less time and memory to the same bits. `decord` refuses files that it may read wrong;
`nvdec` is PyAV with the decoder of an NVIDIA GPU."""

Prepare = Callable[[np.ndarray], np.ndarray]
"""Frames as readers deliver them, (n, H, W, 3), to those that windows hold, (n, h, w, 3)."""


@dataclass(frozen=True)
class Limits:
    """Limits on one clip; every excess is an error, never a silent cut.

    Attributes:
        max_duration_s: seconds shown.
        max_frames: frames in the source.
        max_pixels: width times height of a source frame, and of a resized one.
        max_fps: average frames per second of the source, to the precision of its clock.
        max_clip_pixels: pixels of all frames of the source together.
        max_output_mb: all frames as delivered; enforced by an rlimit in a decoding process.
        is_stream: frames are used as they come: `max_output_mb` bounds the buffered ones.
        max_decord_mb: all frames in decord's buffer: it decodes ahead without bound.
        decode_wall_s: wall clock for one clip in a decoder; its end is no fault of the clip.
        cpu_s: CPU time for one clip in a decoding process; a clip that takes more is at fault.
        memory_mb: address space of a decoding process.
        opens_devices: a decoding process may open what it is not to open otherwise, for writing.
    """

    max_duration_s: float = 120.0
    max_frames: int = 7200
    max_pixels: int = 7680 * 4320
    max_fps: float = float("inf")
    max_clip_pixels: int = 2**53
    max_output_mb: int = 512
    is_stream: bool = False
    max_decord_mb: int = 384
    decode_wall_s: float = 60.0
    cpu_s: int = 120
    memory_mb: int = 1536
    opens_devices: bool = False

    def for_reader(self, reader: ReaderChoice) -> "Limits":
        """Returns the limits with what a reader needs: a GPU's driver opens devices for writing."""
        return replace(self, opens_devices=reader == "nvdec")


TRUSTED = Limits(
    max_duration_s=float("inf"),
    max_frames=2**53,
    max_pixels=2**30,
    max_output_mb=2**40,
    is_stream=True,
    max_decord_mb=128,
    decode_wall_s=float("inf"),
    cpu_s=2**31,
    memory_mb=2**24,
)
"""For an operator's own files, read as a stream of any length."""


@dataclass(frozen=True)
class ClipInfo:
    """Facts of a clip that was decoded.

    Attributes:
        start_s: presentation time of the first frame on the container's clock, at least 0; all
            times count from there.
        duration_s: from the first frame to the end of the last one.
        ticks_per_s: frames on the contract's clock in a second of the source; 29.97 where those
            of an NTSC source are used as they are.
        fps: average frames per second of the source.
        width: as used: after rotation, with square pixels, and of a stereo recording the left half.
        height: as `width`.
        rotation: degrees counter-clockwise that the stored picture was turned by.
        mirrored: left and right of the stored picture were exchanged before.
        video_track: which of the file's video tracks was read, from 0.
        video_tracks: how many there are, attached covers aside.
        codec: "h264", "hevc", "vp8", "vp9", "av1", "mpeg4" or "mjpeg".
        container: "mp4" (MOV too), "matroska" (WebM too) or "avi".
        frames_declared: frames according to the file's index, if it states them.
        frames_decoded: decoded frames of the source that windows use; skipped frames and mere
            reference frames do not count.
        reader: the decoder.
    """

    start_s: float
    duration_s: float
    ticks_per_s: float
    fps: float
    width: int
    height: int
    rotation: int
    mirrored: bool
    video_track: int
    video_tracks: int
    codec: str
    container: str
    frames_declared: int | None
    frames_decoded: int
    reader: Reader

    def __post_init__(self) -> None:
        """Checks the numbers that times are computed from.

        Raises:
            ValueError: one is not finite, or the clock does not go forward.
        """
        if not (0 <= self.start_s < math.inf and 0 < self.ticks_per_s < math.inf):
            raise ValueError(f"no clock: {self.ticks_per_s} ticks a second from {self.start_s} s")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Notice:
    """A limitation of a clip that was read all the same.

    Attributes:
        code: "resampled-from-<rate>fps", "times-repaired", "gap", "several-tracks",
            "non-square-pixels", "hdr", "orientation-ignored", "damaged", "padded" or
            "reader-fallback".
        detail: one plain sentence.
    """

    code: str
    detail: str


@dataclass(frozen=True, eq=False)
class StreamFacts:
    """Facts of a streamed video, known after its last frame.

    Attributes:
        info: facts of the source.
        source_frames: (n,) int64, source frame at each tick of the contract's clock, in
            presentation order.
        notices: limitations of the video.
    """

    info: ClipInfo
    source_frames: np.ndarray
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, eq=False)
class DecodedClip:
    """The frames of a clip that windows use.

    Attributes:
        info: facts of the source.
        frames: (w, H, W, 3) RGB of the contract's `read_shape` and `read_dtype`, upright; or as
            they were prepared for the encoder. Those of the n ticks of the contract's clock that
            `windows.wanted_frames` names; a lost frame is replaced by the one before it.
        source_frames: (n,) int64, source frame at each tick, in presentation order.
        source_times_s: (n,) float64, presentation time of that frame on the container's clock.
        notices: limitations of the clip.
    """

    info: ClipInfo
    frames: np.ndarray
    source_frames: np.ndarray
    source_times_s: np.ndarray
    notices: tuple[Notice, ...] = ()

    @property
    def num_frames(self) -> int:
        """Length of the clip on the contract's clock, n."""
        return len(self.source_frames)

    def __repr__(self) -> str:
        n, height, width, _ = self.frames.shape
        return f"DecodedClip({n} frames of {width} x {height}, {self.info.reader})"
