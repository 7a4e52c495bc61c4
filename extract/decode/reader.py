"""What all readers of frames have in common, and which of them reads a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from extract.contract import FeatureContract, resized_size
from extract.decode.clip import Limits, Reader, ReaderChoice
from extract.decode.decord_reader import DecordReader
from extract.decode.orientation import Orientation
from extract.decode.pyav.reader import PyavReader, nvdec
from extract.decode.read_plan import PacketReport, decord_fits, decord_may_read
from extract.errors import VideoRejected


class VideoReader(Protocol):
    """Decodes a file once, forward; its packets were looked at before.

    Attributes:
        name: what answers call it.
        num_decoded: frames decoded and yielded so far.
        num_refused: packets the decoder could make nothing of so far.
        num_corrupt: frames it gave but marked as corrupt so far.
        num_unplanned: frames it gave that nothing in the packets led to expect.
        width: of the last frame as shown: after turning, with square pixels; 0 before the first.
        height: as `width`.
        orientation: how stored pictures are turned.
        is_turnable: the file asks for no other angle than a multiple of 90 degrees.
        pixel_aspect: width of a stored pixel divided by its height.
    """

    name: Reader
    num_decoded: int
    num_refused: int
    num_corrupt: int
    num_unplanned: int
    width: int
    height: int
    orientation: Orientation
    is_turnable: bool
    pixel_aspect: float

    def frames(self, repeats: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (source frame, picture) of every frame that is wanted and not lost.

        Pictures are what `FeatureContract.frame_shape` and `frame_dtype` say.

        Others need not be decoded where nothing depends on them.

        Args:
            repeats: (n,) on how many wanted ticks each source frame is shown.
        """


def open_reader(
    choice: ReaderChoice,
    path: Path,
    report: PacketReport,
    contract: FeatureContract,
    limits: Limits,
) -> VideoReader:
    """Returns the reader of a file.

    Args:
        choice: "auto" takes decord for a clip that it is known to read right and whose frames it
            can hold at once, and PyAV for streams and all else.
        path: the file.
        report: what its packets say.
        contract: how frames are to be delivered.
        limits: what the file may cost.

    Raises:
        VideoRejected: decord was asked for and may not read this file.
        DecoderUnavailable: nvdec was asked for, and this machine has none.
    """
    if choice == "decord" or (choice == "auto" and not limits.is_stream):
        decord = _decord(path, report, contract, limits)
        if decord is not None:
            return decord
    if choice == "decord":
        raise VideoRejected(
            "reader-refused",
            "decord is known to read such a file wrong, or cannot hold its frames at once",
        )
    if choice == "nvdec":
        return PyavReader(path, report, contract, limits, nvdec())
    return PyavReader(path, report, contract, limits)


def _decord(
    path: Path, report: PacketReport, contract: FeatureContract, limits: Limits
) -> DecordReader | None:
    if not decord_may_read(report, contract):
        return None
    peek = PyavReader(path, report, contract, limits)
    peek.peek()
    if not peek.is_turnable or peek.orientation.is_mirrored or peek.is_turned_by_stream:
        return None
    if not decord_fits(*resized_size(peek.width, peek.height, contract), report, limits):
        return None
    return DecordReader(
        path,
        report,
        contract,
        limits,
        width=peek.width,
        height=peek.height,
        orientation=peek.orientation,
        pixel_aspect=peek.pixel_aspect,
    )
