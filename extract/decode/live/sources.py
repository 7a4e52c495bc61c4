"""Frames of a stream from a pipe: of a container in pieces, or of single pictures."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NamedTuple, cast

import av
import numpy as np
from av.codec import CodecContext
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from extract.decode.clip import Limits
from extract.decode.demux import CODECS, MAX_TRACKS, choose_track, pixel_aspect_of
from extract.decode.live.protocol import PICTURE_HEAD
from extract.decode.pyav.decoder import TrackDecoder
from extract.decode.sniff import HEAD_BYTES, sniff_live
from extract.errors import VideoRejected

KEPT_BYTES = 8 << 20
"""Bytes of a stream in MP4 that may be read again: a fragment's pictures and sound, one by one."""

_DEMUXERS = {"mp4": "mov", "matroska": "matroska", "mpegts": "mpegts"}
_PICTURES = {b"\xff\xd8\xff": "mjpeg", b"\x89PNG": "png", b"RIFF": "webp"}
"""First bytes of a picture -> its decoder."""
_LATEST_S = 2.0**40
_MICROSECOND = Fraction(1, 1_000_000)
_PROBE_US = 500_000  # of the stream, to find its tracks: the default of 5 s would be waited for


class Feed:
    """Bytes of a pipe, the first of which may be looked at.

    Attributes:
        taken: bytes read from the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head = b""
        self.taken = 0

    def peek(self, count: int) -> bytes:
        """Returns the first bytes, without taking them; fewer at the end."""
        while len(self._head) < count and (data := self._pull(count)):
            self._head += data
        return self._head

    def read(self, count: int) -> bytes:
        """Returns at most so many bytes; none at the end."""
        if self._head:
            data, self._head = self._head[:count], self._head[count:]
            return data
        return self._pull(count)

    def whole(self, count: int) -> bytes:
        """Returns so many bytes; fewer at the end."""
        parts = io.BytesIO()
        while (left := count - parts.tell()) > 0 and (data := self.read(min(left, 1 << 20))):
            parts.write(data)
        return parts.getvalue()

    def _pull(self, count: int) -> bytes:
        data = os.read(self._descriptor, count)
        self.taken += len(data)
        return data


class RewindableFeed:
    """Bytes of a pipe that may be read again, as far as they are kept.

    FFmpeg's demuxer of MP4 goes back by some bytes, which it finds in its own buffer only where the
    pieces of a stream happen to suit it. It must not wait for the end of the stream for an index.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._kept = bytearray()
        self._end = 0  # bytes taken from the pipe
        self._place = 0

    def read(self, count: int) -> bytes:
        """Returns at most so many bytes; none at the end."""
        if self._place == self._end and not self._pull(count):
            return b""
        first = self._end - len(self._kept)
        data = bytes(self._kept[self._place - first : self._place - first + count])
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a place, reading up to it; -1: it is not kept, or counts from the end."""
        if whence == os.SEEK_END:
            return -1
        wanted = offset + (self._place if whence == os.SEEK_CUR else 0)
        while wanted > self._end and self._pull(min(1 << 16, wanted - self._end)):
            pass
        if not self._end - len(self._kept) <= wanted <= self._end:
            return -1
        self._place = wanted
        return wanted

    def tell(self) -> int:
        """Returns the place."""
        return self._place

    def _pull(self, count: int) -> int:
        data = self._feed.read(count)
        self._kept += data
        self._end += len(data)
        if len(self._kept) > 2 * KEPT_BYTES:  # seldom, as it moves all that is kept
            del self._kept[:-KEPT_BYTES]
        return len(data)


class TrackFrames:
    """Frames of a container's video track, in presentation order.

    Attributes:
        codec: name of the decoder.
        size: declared width, height and pixel aspect.
    """

    def __init__(self, source: InputContainer, limits: Limits) -> None:
        self._stream = source.streams.video[choose_track(source)]
        self._decoder = TrackDecoder(source, self._stream, limits)
        self.codec = CODECS.get(self._stream.codec_context.name, "")
        stream = self._stream
        self.size = stream.width, stream.height, pixel_aspect_of(stream)
        self._last: tuple[float, int] = (-np.inf, 0)

    @property
    def refused(self) -> int:
        """Packets that could not be decoded, so far."""
        return self._decoder.num_refused

    @property
    def last_s(self) -> float | None:
        """Duration of the last frame, where it is stated."""
        return self._last[1] * float(self._stream.time_base or 0) or None

    def __iter__(self) -> Iterator[VideoFrame]:
        return self._decoder.frames(self._note)

    def _note(self, packet: "av.Packet[Any] | None") -> None:
        if packet is not None and packet.pts is not None and packet.pts > self._last[0]:
            self._last = packet.pts, packet.duration or 0


class Picture(NamedTuple):
    """A picture that came, not decoded yet: its time, bytes, and the name of its decoder."""

    time_s: float
    data: bytes
    codec: str


class PictureReader:
    """Pictures that come one by one.

    Attributes:
        codec: name of the latest decoder.
        refused: pictures that could not be decoded, so far.
    """

    def __init__(self, feed: Feed, limits: Limits) -> None:
        self._feed, self._limits = feed, limits
        self.codec, self.refused = "", 0

    def pictures(self) -> Iterator[Picture]:
        """Yields what comes.

        Raises:
            VideoRejected: it is no picture, or has no time.
        """
        while len(head := self._feed.whole(PICTURE_HEAD.size)) == PICTURE_HEAD.size:
            time_s, size = PICTURE_HEAD.unpack(head)
            if not abs(time_s) < _LATEST_S:
                raise VideoRejected("damaged", "a picture has no finite time")
            data = self._feed.whole(size)
            name = next((name for magic, name in _PICTURES.items() if data.startswith(magic)), None)
            if name is None:
                raise VideoRejected("unsupported-codec", "a picture is neither JPEG, PNG nor WebP")
            yield Picture(time_s, data, name)

    def decoded(self, picture: Picture) -> VideoFrame | None:
        """Returns a picture's frame; None where it is damaged, which is counted."""
        decoder = cast(VideoCodecContext, CodecContext.create(picture.codec, "r"))
        decoder.options = {"max_pixels": str(self._limits.max_pixels)}
        decoder.thread_count = 1
        self.codec = picture.codec
        try:
            frames = [
                frame for part in (av.Packet(picture.data), None) for frame in decoder.decode(part)
            ]
        except av.error.MemoryError as error:
            raise MemoryError from error
        except (av.error.FFmpegError, ValueError):
            frames = []
        if not frames:
            self.refused += 1
            return None
        frame = frames[0]
        frame.time_base, frame.pts = _MICROSECOND, round(picture.time_s * 1_000_000)
        return frame


@contextmanager
def opened(feed: Feed, limits: Limits) -> Iterator[InputContainer]:
    """Yields the container that a pipe carries.

    Raises:
        VideoRejected: it is none that can be read as it arrives.
    """
    container = sniff_live(feed.peek(HEAD_BYTES))
    options = {
        "format_whitelist": _DEMUXERS[container],
        "protocol_whitelist": "none",
        "codec_whitelist": ",".join(CODECS),
        "max_pixels": str(limits.max_pixels),
        "max_streams": str(MAX_TRACKS),
        "analyzeduration": str(_PROBE_US),
        "fflags": "ignidx",  # does not look for an index behind the pictures
        "skip_frame": "all",
    }
    source_bytes = RewindableFeed(feed) if container == "mp4" else feed
    try:
        source = av.open(cast(Any, source_bytes), "r", format=_DEMUXERS[container], options=options)
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoRejected(
            "damaged",
            "the stream cannot be opened; an MP4 must be fragmented, or have its index in front",
        ) from error
    with source:
        yield source
