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
        self._times_s = torch.empty(2, _FIRST_ROWS, dtype=torch.float64)  # begin and end
        self._timed = 0  # rows with their final times
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
        """Returns the track of all windows so far, which shares its memory with this.

        A long stream costs no more a window than a short one: only times that are new are set.

        Args:
            num_frames: of the stream so far, with which the last window ends.
            origin_s: time of its first frame, the same in every call.
            ticks_per_s: frames on the contract's clock in a second of the stream, likewise.
        """
        contract, count = self._contract, len(self)
        for row in range(self._timed, count):
            begin = row * contract.stride_frames
            if row == count - 1:
                begin = max(0, num_frames - contract.window_frames)
            end = min(begin + contract.window_frames, num_frames)
            self._times_s[0, row] = origin_s + begin / ticks_per_s
            self._times_s[1, row] = origin_s + end / ticks_per_s
        self._timed = max(0, count - 1)
        start_s, end_s = self._times_s[:, :count]
        return FeatureTrack(
            features=self._rows[:count],
            start_s=start_s,
            end_s=end_s,
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
            more = torch.empty_like(self._times_s)
            self._times_s = torch.cat([self._times_s, more], dim=1)
        self._rows[count] = row
        self._is_skipped.append(is_skipped)
