"""Feature extraction: cuts windows from a stream of frames and encodes them in batches."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from extract.decode.clip import TRUSTED, ClipInfo, DecodedClip, Limits
from extract.decode.video import decode_into
from extract.encoders.encoder import VideoEncoder, preparer
from extract.errors import VideoRejected
from extract.features.track import EncoderId, FeatureTrack
from extract.runtime.frame_batches import batch_encoder
from extract.windows import FrameWindow, NumberedFrame, WindowCutter, number_frames

logger = logging.getLogger(__name__)

_BATCH_BYTES = 512 * 1024 * 1024


class TrackBuilder:
    """Builds the FeatureTrack of one video from frames that arrive once, in order.

    Batches hold windows of this video alone, so its features do not depend on other videos under
    way; several builders may share one encoder. A `FrameSink`; without a call of `expect`, all
    frames must come.
    """

    def __init__(self, encoder: VideoEncoder, *, batch_windows: int = 16) -> None:
        """Starts an empty track; large frames make batches smaller than `batch_windows`."""
        self._encoder = encoder
        self._prepare = preparer(encoder)
        self._batch_windows = batch_windows
        self._expected: int | None = None
        self.restart()

    def expect(self, num_frames: int) -> None:
        """Declares, before the first frame, that only frames come that windows use, of so many."""
        self._expected = num_frames
        self.restart()

    def restart(self) -> None:
        """Drops all frames: they come again from the beginning."""
        self._cutter: WindowCutter[NumberedFrame] = WindowCutter(
            self._encoder.contract, self._expected
        )
        self._encode_batch = batch_encoder(self._encoder)
        self._size: tuple[int, ...] | None = None
        self._batch: list[FrameWindow] = []
        self._features: list[Tensor] = []

    @property
    def num_windows(self) -> int:
        """Windows encoded so far."""
        return sum(map(len, self._features))

    def append(self, block: np.ndarray) -> None:
        """Adds the next frames, and encodes full batches.

        Args:
            block: (n, H, W, 3), on the encoder's clock, as readers deliver them, or whole uint8
                ones where the contract resizes floats.

        Raises:
            VideoRejected: their size differs from those before.
        """
        if self._size is not None and block.shape[1:] != self._size:
            raise VideoRejected("damaged", "the size of the picture changes on the way")
        self._size = block.shape[1:]
        if self._prepare is not None:
            block = self._prepare(block)
        self._take(self._cutter.push(number_frames(block)))

    def finish(self, *, video_id: str, info: ClipInfo | None = None) -> FeatureTrack:
        """Returns the track; nothing can be appended after this.

        Args:
            video_id: what the caller calls the video.
            info: facts of the video the frames are of; None: they begin at 0 and are as many a
                second as the encoder's clock says.

        Raises:
            VideoRejected: no frame came.
        """
        self._take(self._cutter.finish())
        if self._batch:
            self._encode()
        features = torch.cat([rows.cpu() for rows in self._features])
        return track_from(features, self._cutter.num_frames, self._encoder, video_id, info)

    def _take(self, windows: Iterable[FrameWindow]) -> None:
        for window in windows:
            self._batch.append(window)
            window_bytes = sum(frame.nbytes for _, frame in window)
            if len(self._batch) >= max(1, min(self._batch_windows, _BATCH_BYTES // window_bytes)):
                self._encode()

    def _encode(self) -> None:
        # Left on the device: copying here would synchronise with it.
        self._features.append(self._encode_batch(self._batch))
        self._batch = []


class Extractor:
    """Turns decoded frames into a FeatureTrack with one encoder."""

    def __init__(self, encoder: VideoEncoder, *, batch_windows: int = 16) -> None:
        if batch_windows < 1:
            raise ValueError(f"expected batch_windows >= 1, got {batch_windows}")
        self.encoder = encoder
        self.batch_windows = batch_windows

    def from_frames(self, blocks: Iterable[np.ndarray], *, video_id: str) -> FeatureTrack:
        """Returns the track of a stream of frames, each handled once.

        Args:
            blocks: (n, H, W, 3) frames in order, on the encoder's clock, all of one size: as
                readers deliver them, or whole uint8 ones where the contract resizes floats.
            video_id: what the caller calls the video.

        Raises:
            VideoRejected: no frame came, or the size changed on the way.
        """
        builder = TrackBuilder(self.encoder, batch_windows=self.batch_windows)
        for block in blocks:
            builder.append(block)
        return builder.finish(video_id=video_id)

    def from_clip(self, clip: DecodedClip, *, video_id: str) -> FeatureTrack:
        """Returns the track of a decoded clip; equal to that of the same frames as a stream."""
        builder = TrackBuilder(self.encoder, batch_windows=self.batch_windows)
        builder.expect(clip.num_frames)
        builder.append(clip.frames)
        return builder.finish(video_id=video_id, info=clip.info)

    def from_file(
        self,
        path: Path,
        *,
        video_id: str | None = None,
        limits: Limits | None = None,
        is_stereo: bool = False,
    ) -> FeatureTrack:
        """Returns the track of a trusted local file of any length, decoded in this process.

        Args:
            path: the video.
            video_id: what to call it; the file's name without its ending when None.
            limits: none but the decoder's own when None.
            is_stereo: frames hold two pictures side by side, of which the left is used.

        Raises:
            VideoRejected: the file is no acceptable video.
            OSError: the file cannot be read.
        """
        builder = TrackBuilder(self.encoder, batch_windows=self.batch_windows)
        contract = self.encoder.contract.for_stereo() if is_stereo else self.encoder.contract
        # PyAV: it holds one block in memory, whatever the length.
        facts = decode_into(path, contract, limits or TRUSTED, builder, "pyav")
        for notice in facts.notices:
            logger.warning("%s: %s", path, notice.detail)
        name = path.stem if video_id is None else video_id
        return builder.finish(video_id=name, info=facts.info)


def track_from(
    features: Tensor,
    num_frames: int,
    encoder: VideoEncoder,
    video_id: str,
    info: ClipInfo | None = None,
) -> FeatureTrack:
    """Returns the track of features that were encoded one by one.

    Args:
        features: (L, D_in) float32, in window order.
        num_frames: frames of the clip on the contract's clock.
        encoder: what made the features, of windows of its contract.
        video_id: what the caller calls the video.
        info: facts of the video; None: it begins at 0, with as many frames a second as the
            contract's clock.
    """
    return FeatureTrack.of_windows(
        features,
        num_frames,
        encoder.contract,
        EncoderId(encoder.name, encoder.fingerprint),
        video_id,
        origin_s=0.0 if info is None else info.start_s,
        ticks_per_s=None if info is None else info.ticks_per_s,
    )
