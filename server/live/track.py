"""Live track: the features of a stream's windows so far, and which of them were left out.

4 bytes a number, so D_in = 1536 and 1.9 windows a second take 41 MB an hour.
"""

import torch
from torch import Tensor

from extract.contract import FeatureContract
from extract.encoders.encoder import VideoEncoder
from extract.features.track import EncoderId, FeatureTrack
from model.nodes import Bounds

_FIRST_ROWS = 64


class LiveTrack:
    """The track of one stream, which grows.

    The row of a window that was left out repeats the row before, so that the times of all rows
    stay right; a segment of such rows is not `is_seen`.

    Args:
        encoder: of the windows.
    """

    def __init__(self, encoder: VideoEncoder) -> None:
        self._contract: FeatureContract = encoder.contract
        self._encoder = EncoderId(encoder.name, encoder.fingerprint)
        self._rows = torch.empty(_FIRST_ROWS, encoder.dim)
        self._is_skipped = bytearray()

    def __len__(self) -> int:
        return len(self._is_skipped)

    @property
    def skipped(self) -> int:
        """Windows left out so far."""
        return sum(self._is_skipped)

    def append(self, row: Tensor) -> None:
        """Adds the next window's features, (D_in,)."""
        self._add(row, is_skipped=False)

    def skip(self) -> None:
        """Adds a window that was not encoded; never the first."""
        self._add(self._rows[len(self) - 1], is_skipped=True)

    def at(self, num_frames: int, *, origin_s: float, ticks_per_s: float) -> FeatureTrack:
        """Returns the track of all windows so far, which share their memory with it.

        Args:
            num_frames: of the stream so far, with which the last window ends.
            origin_s: time of its first frame.
            ticks_per_s: frames on the contract's clock in a second of the stream.
        """
        contract = self._contract
        start = torch.arange(len(self), dtype=torch.float64) * contract.stride_frames
        start[-1] = max(0, num_frames - contract.window_frames)
        end = (start + contract.window_frames).clamp(max=num_frames)
        return FeatureTrack(
            features=self._rows[: len(self)],
            start_s=origin_s + start / ticks_per_s,
            end_s=origin_s + end / ticks_per_s,
            fps=float(contract.fps),
            video_id="live",
            encoder=self._encoder,
            num_frames=num_frames,
            stride_frames=contract.stride_frames,
            is_padded=num_frames < contract.window_frames,
            origin_s=origin_s,
            ticks_per_s=ticks_per_s,
        )

    def is_seen(self, track: FeatureTrack, bounds: Bounds) -> bool:
        """Whether at least half of the windows that begin in a segment were encoded.

        Args:
            track: as `at` returned it.
            bounds: of the segment.
        """
        if not any(self._is_skipped):
            return True
        first, after = torch.searchsorted(
            track.start_s, torch.tensor(bounds, dtype=torch.float64)
        ).tolist()
        part = self._is_skipped[first : max(after, first + 1)]
        return 2 * sum(part) <= len(part)

    def _add(self, row: Tensor, *, is_skipped: bool) -> None:
        count = len(self)
        if count == len(self._rows):
            self._rows = torch.cat([self._rows, torch.empty_like(self._rows)])
        self._rows[count] = row
        self._is_skipped.append(is_skipped)
