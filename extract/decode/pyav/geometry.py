"""Geometry of decoded frames: size and orientation as shown, checked against limits."""

from typing import Any, cast

from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame

from extract.contract import FeatureContract
from extract.decode.clip import Limits
from extract.decode.orientation import UPRIGHT, Orientation
from extract.decode.pyav.frames import Shown
from extract.decode.read_plan import check_frame, check_frame_pixels


class FrameGeometry:
    """Geometry of the frames of one track, which may change on the way.

    Attributes:
        shown: geometry of the last frame.
        width: of the last frame as used: after rotation, with square pixels.
        height: as `width`.
        orientation: of the last frame.
        is_turnable: it is turned by a multiple of 90 degrees.
        pixel_aspect: width of a pixel divided by its height.
    """

    def __init__(
        self,
        width: int,
        height: int,
        pixel_aspect: float,
        contract: FeatureContract,
        limits: Limits,
    ) -> None:
        """Takes what the container declares; a size that is wrong has a wrong pixel aspect, too."""
        self._declared, self._declared_aspect = (width, height), pixel_aspect
        self._contract, self._limits = contract, limits
        self.width = 0
        self.height = 0
        self.orientation = UPRIGHT
        self.is_turnable = True
        self.pixel_aspect = 1.0
        self.shown = Shown(0, 0, 0, 0, UPRIGHT)
        self._measured: object = None

    def measure(self, frame: VideoFrame) -> None:
        """Notes a frame's geometry; a stream may state it once, for all frames that follow.

        Raises:
            VideoRejected: the frame has too many pixels.
        """
        if (matrix := display_matrix(frame)) is not None:
            orientation = Orientation.of_matrix(matrix)
            self.is_turnable = orientation is not None
            self.orientation = orientation or UPRIGHT
        key = (frame.width, frame.height, self.orientation)
        if key == self._measured:
            return
        columns, rows = self.orientation.size(frame.width, frame.height)
        is_known = (frame.width, frame.height) == self._declared
        self.pixel_aspect = self._declared_aspect if is_known else 1.0
        shown_width = max(1, round(frame.width * self.pixel_aspect))
        width, height = self.orientation.size(shown_width, frame.height)
        if self._contract.view == "left":
            columns, width = columns // 2, width // 2
        check_frame_pixels(frame.width, frame.height, self._limits)
        check_frame(width, height, self._contract, self._limits)
        self.shown = Shown(width, height, columns, rows, self.orientation)
        self.width, self.height, self._measured = width, height, key


def display_matrix(frame: VideoFrame) -> bytes | None:
    """Returns the display matrix that comes with a frame, from its container or its stream.

    Not through `frame.side_data`: that makes a reference cycle, which keeps the frame alive until
    garbage collection, and the decoder would allocate new memory for every frame meanwhile.
    """
    data = cast(Any, SideDataContainer)(frame).get("DISPLAYMATRIX")
    return None if data is None else bytes(data)
