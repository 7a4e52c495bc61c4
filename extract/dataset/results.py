"""The folder a run fills: what it holds already, and how an outcome becomes a file and an entry.

The folder is the authority on what is done. Whoever does the work asks it in the same way.
"""

import logging
from dataclasses import dataclass

import torch

from extract.dataset.options import SUFFIXES
from extract.dataset.pipeline import Outcome
from extract.dataset.report import Entry, reason
from extract.dataset.video_lists import Video
from extract.encoders.encoder import VideoEncoder
from extract.errors import FeatureFileInvalid
from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from extract.features.track_check import FeatureCheck, Needed
from weights.storage.folders import Place

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoDone:
    """A video that is done with, its features on disk or its failure understood."""

    video: Video
    entry: Entry


class Results:
    """The feature files of one encoder in one folder.

    Attributes:
        store: the folder.
    """

    def __init__(self, folder: Place, encoder: VideoEncoder, *, format: str, half: bool) -> None:
        """Looks at nothing yet.

        Args:
            folder: of the features, or the URL of one.
            encoder: whose features they are; it is not run.
            format: a key of `SUFFIXES`.
            half: whether they are stored in float16.
        """
        self.store = FeatureStore(folder)
        self._encoder, self._format, self._half = encoder, format, half

    def keep(self, outcome: Outcome) -> VideoDone:
        """Writes what became of a video; a failure to write it is the video's."""
        video, error, track = outcome.video, outcome.error, outcome.track
        path, seconds = str(video.path), round(outcome.seconds, 3)
        if track is not None:
            try:
                if self._format == "pt":
                    self.store.write_bare(track, half=self._half)
                else:
                    self.store.write(track)
                rows, notices = len(track.features), outcome.notices
                return VideoDone(video, Entry("written", path, rows, seconds, notices=notices))
            except (OSError, FeatureFileInvalid) as failure:
                error = failure
        assert error is not None
        why, detail = reason(error)
        return VideoDone(video, Entry("failed", path, 0, seconds, why, detail))

    def windows_of(self, video: Video) -> int | None:
        """Returns the rows of a finished video: whole, of this encoder, as many as its frames make.

        A stored file is believed only after reading it: an interrupted copy looks finished too.
        """
        # A bare tensor does not say who made it; the report does, and was asked before.
        made_by = EncoderId(self._encoder.name, self._encoder.fingerprint)
        check = FeatureCheck(
            needed=Needed(self._encoder.dim, made_by),
            lengths={video.id: video.num_frames or 0},
            contract=self._encoder.contract,
        )
        try:
            rows = self.store.read_rows(video.id, SUFFIXES[self._format])
            check.file(video.id, rows)
        except KeyError:
            return None
        except FeatureFileInvalid as error:
            logger.warning("%s is extracted again: %s", video.id, error)
            return None
        wanted = torch.float16 if self._half else torch.float32
        return len(rows.features) if rows.features.dtype == wanted else None
