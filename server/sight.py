"""Sight: a clip on disk -> features on the encoder's clock.

decode (worker processes) -> windows -> encode (micro-batches of windows across requests).
"""

import asyncio
import time

import torch
from torch import Tensor

from extract.extractor import track_from
from extract.track import FeatureTrack
from server.batcher import Done
from server.decoding import DecodeStage
from server.model_thread import ModelThread
from server.stages import Progress, Seen, Source, StageTimes, Tell, tell_nobody


class Sight:
    """Decoders and encoder in a row, with so many clips between them and no more.

    Attributes:
        coming: clips on their way to the encoder's queue.
    """

    def __init__(self, decode: DecodeStage, model: ModelThread, clips: int) -> None:
        """Wires the stages.

        Args:
            decode: makes windows of clips.
            model: makes features of windows.
            clips: decoded clips that may be in memory, those being decoded included.
        """
        self._decode, self._model = decode, model
        self._in_memory = asyncio.Semaphore(clips)
        self.coming = 0

    async def see(self, source: Source, *, deadline_s: float, tell: Tell = tell_nobody) -> Seen:
        """Returns a clip's features; what came as features is seen as it is.

        Args:
            source: the clip on disk, or its features.
            deadline_s: on the running loop's clock.
            tell: hears of every stage.

        Raises:
            ExtractError: the clip cannot be decoded.
            DeadlineExceeded: its turn came too late.
        """
        if isinstance(source, FeatureTrack):
            return Seen(source)
        encoder = self._model.predictor.encoder
        asked_s = time.perf_counter()
        async with self._in_memory:
            held_s = time.perf_counter() - asked_s
            self.coming += 1
            try:
                cut = await self._decode.cut(source, encoder.contract, deadline_s=deadline_s)
                tell(Progress("decoded", 0, len(cut.windows)))
                queued = self._model.enqueue_windows(cut.windows, deadline_s=deadline_s)
            finally:
                self.coming -= 1
            parts = await _all_of(queued, tell, total=len(cut.windows))
        track = track_from(
            torch.cat([part.value for part in parts]),
            cut.starts,
            len(cut.clip.frames),
            encoder.contract,
            encoder,
            "clip",
        )
        times = StageTimes(
            queue_s=held_s + cut.waited_s + parts[0].waited_s,
            decode_s=cut.ran_s,
            features_s=sum(part.ran_s for part in parts),
        )
        return Seen(track, cut.clip, times)


async def _all_of(
    queued: list[asyncio.Future[Done[Tensor]]], tell: Tell, *, total: int
) -> list[Done[Tensor]]:
    """Returns every part of a clip's features, telling of each as it comes."""
    done = 0

    def count(part: asyncio.Future[Done[Tensor]]) -> None:
        nonlocal done
        if not part.cancelled() and part.exception() is None:
            done += len(part.result().value)
            tell(Progress("features", done, total))

    for part in queued:
        part.add_done_callback(count)
    return await asyncio.gather(*queued)
