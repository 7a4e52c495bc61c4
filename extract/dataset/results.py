"""Results of a run: its folder of features, finished videos in it, and storing of outcomes.

The folder alone determines what is done, for the local engine and for actors of a cluster.
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
    """A finished video and its entry in the report."""

    video: Video
    entry: Entry


class Results:
    """The feature files of one encoder in one folder.

    Attributes:
        store: the folder.
    """

    def __init__(self, folder: Place, encoder: VideoEncoder, *, format: str, half: bool) -> None:
        """Reads nothing yet."""
        self.store = FeatureStore(folder)
        self._encoder, self._format, self._half = encoder, format, half

    def keep(self, outcome: Outcome) -> VideoDone:
        """Stores an outcome; a failed write is a failure of the video."""
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
        """Returns the number of rows of a finished video, or None where it needs work.

        Its file is read and checked: whole, of this encoder, as many rows as its frames make.
        """
        # A bare tensor does not name its encoder; the report does, and was checked before.
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
