"""Frame readers: their common protocol, and the choice between decord, PyAV and NVDEC."""

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
    """Decodes a file once, forward, after its packets were scanned.

    Attributes:
        name: as in `ClipInfo.reader`.
        num_decoded: frames decoded and yielded so far.
        num_refused: packets that the decoder refused so far.
        num_corrupt: frames that it marked as corrupt so far.
        num_unplanned: frames that the packets did not announce.
        width: of the last frame as shown: after rotation, with square pixels; 0 before the first.
        height: as `width`.
        orientation: of stored pictures.
        is_turnable: the display matrix, if any, has a multiple of 90 degrees.
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
        """Yields (source frame, picture) of every needed frame that is not lost.

        Pictures have `FeatureContract.read_shape` and `read_dtype`. Other frames are decoded only
        as references.

        Args:
            repeats: (n,) number of wanted ticks of each source frame.
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
        choice: "auto" takes decord for a clip that it reads correctly and whose frames fit its
            memory, and PyAV for streams and the rest.
        path: the file.
        report: of its packets.
        contract: how frames are to be delivered.
        limits: what the file may cost.

    Raises:
        VideoRejected: the choice is decord, which may read this file wrong.
        DecoderUnavailable: the choice is nvdec, and this machine has none.
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
