"""Track decoder: packets to frames with PyAV; an error costs one packet and no more."""

from collections.abc import Callable, Iterator

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from extract.decode.clip import Limits
from extract.decode.demux import CODECS, packets_of
from extract.errors import VideoRejected


class TrackDecoder:
    """Decodes one track of an open file, once, forward.

    Attributes:
        num_refused: packets that the decoder refused so far.
    """

    def __init__(self, source: InputContainer, stream: VideoStream, limits: Limits) -> None:
        self.num_refused = 0
        self._source = source
        self._stream = stream
        self._decoder = stream.codec_context
        # Options given at open act on the header probe only.
        self._decoder.options = {
            "codec_whitelist": ",".join(CODECS),
            "max_pixels": str(limits.max_pixels),
        }
        self._decoder.thread_count = 1

    def frames(
        self,
        before: "Callable[[av.Packet[VideoStream] | None], None]" = lambda packet: None,
        *,
        is_impatient: bool = False,
    ) -> Iterator[VideoFrame]:
        """Yields the track's frames in presentation order.

        Args:
            before: called with every packet before it is decoded; None where the file is truncated.
            is_impatient: flush the decoder after the first packet, which ends decoding: the
                cheapest way to a first frame.

        Raises:
            VideoRejected: the codec is not accepted.
            MemoryError: the decoder reached the memory limit.
        """
        for packet in packets_of(self._source, self._stream):
            before(packet)
            try:
                yield from self._decoder.decode(packet)
                if is_impatient:
                    yield from self._decoder.decode(None)
            except av.error.EOFError:
                return
            except av.error.MemoryError as error:
                raise MemoryError from error
            except av.error.DecoderNotFoundError as error:
                raise VideoRejected("unsupported-codec", "the codec is not accepted") from error
            except (av.error.FFmpegError, ValueError):
                self.num_refused += 1
