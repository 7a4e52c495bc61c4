"""Features of a test set's videos: stored ones checked, others extracted or reported missing."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from extract.dataset.video_lists import Video
from extract.encoders.load import encoder_from_spec
from extract.encoders.precomputed import MADE_BY
from extract.features.ids import as_id
from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from extract.features.track_check import Annotated, FeatureCheck, Kind, Needed
from model.config import ModelConfig
from model.data.annotations import DataRoot
from model.data.missing import fetch_features, fetch_videos
from model.data.tracks import check_of, extract_files
from model.data.video_files import locate_videos
from model.errors import ScoringRefused
from model.score.test_set import ChallengeItem
from weights.bundle import Bundle

MissingAnswers = Literal["refuse", "fill", "skip"]
"""Items of videos without features: refused, filled with the prior of training, or left out."""

Items = Mapping[str, Mapping[str, Sequence[ChallengeItem]]]
"""Video -> task -> items."""


@dataclass(frozen=True, eq=False)
class FeatureSource:
    """Source of the features of a test set.

    Attributes:
        store: feature files.
        data: the annotations, and beside them `ego4d.json`.
        bundle: its encoder extracts missing features.
        videos: folder of the videos to extract from, or the root the Ego4D client filled; None
            extracts nothing.
        device: of the encoder.
    """

    store: FeatureStore
    data: DataRoot
    bundle: Bundle
    videos: Path | None = None
    device: str = "cpu"

    def fill(
        self,
        items: Items,
        annotated: Mapping[str, Annotated],
        *,
        missing: MissingAnswers,
        goes_on: bool,
    ) -> list[str]:
        """Checks stored features, extracts missing ones; returns the videos without any.

        All stored features are checked before anything is extracted or answered.

        Args:
            items: of each video.
            annotated: extent of the test files in each video, which is more than what LTA observes.
            missing: whether videos without features are refused.
            goes_on: some items of the test set were answered by an earlier run.

        Raises:
            ScoringRefused: some have none and that is refused, or all have none.
            FeatureFileInvalid: features are damaged, or are not those of the bundle and the video.
            VideosUnreadable: videos cannot be read; the others have their features.
        """
        if not items:
            return []
        absent = [video for video in items if not self.store.has(as_id(video))]
        files = self._locate(absent)
        todo = {video: file for video, file in files.items() if os.path.isfile(file.path)}
        gone = sorted(set(absent) - set(todo))
        if gone and missing == "refuse":
            raise ScoringRefused(self._say_missing(gone, len(items), files))
        if gone and len(gone) == len(items) and not goes_on:
            raise ScoringRefused(
                f"{self._say_missing(gone, len(items), files)}. Where all are missing, nothing is "
                "answered"
            )
        check = check_of(self.data, self.store, annotated, self._needed)
        self._look(sorted(set(items) - set(absent)), check)
        if todo:
            self._make(list(todo.values()), check)
        if not goes_on:  # the rest of a test set may not show what the whole did
            check.finish()
        return gone

    @property
    def _needed(self) -> Needed:
        manifest = self.bundle.manifest
        encoder, width = manifest.encoder, ModelConfig.from_dict(manifest.model).input_size
        made_by = EncoderId(str(encoder.get("name", "")), str(encoder.get("fingerprint") or ""))
        return Needed(width, made_by)

    def _locate(self, absent: Sequence[str]) -> dict[str, Video]:
        """Returns the videos' files, existing or not; none if features cannot be extracted."""
        if self.videos is None or not absent or not self.bundle.encoder:
            return {}
        return locate_videos(self.data, absent, self.videos)

    def _look(self, videos: Sequence[str], check: FeatureCheck) -> None:
        for video in tqdm(videos, "features", unit="video", disable=None):
            check.file(as_id(video), self.store.read_rows(as_id(video), keep=True))

    def _make(self, videos: Sequence[Video], check: FeatureCheck) -> None:
        spec = self.bundle.manifest.encoder
        encoder = encoder_from_spec(spec, self.bundle.encoder).to(self.device)
        made_by = EncoderId(encoder.name, encoder.fingerprint)
        place = f"{self.store.root}, with what would be extracted of {videos[0].path}"
        check.same(place, Kind(made_by, encoder.dim, "float32"))
        made = extract_files(videos, self.store, encoder, check)
        for _ in tqdm(made, "extract", len(videos), unit="video", disable=None):
            pass

    def _say_missing(self, gone: Sequence[str], total: int, files: Mapping[str, Video]) -> str:
        """Names missing videos, the places searched and how to get them."""
        sought = f", and there is no {files[gone[0]].sought}" if gone[0] in files else ""
        if self.videos is not None and not self.bundle.encoder:
            sought = ", and this bundle holds no encoder to extract them from --videos"
        return (
            f"{self.store.root} has no features of {len(gone)} of {total} videos, {gone[0]} among "
            f"them{sought}. To fetch them: {self._remedy(gone)}. For videos that are published no "
            "more: --missing fill answers with what training saw most, --missing skip leaves their "
            "items out"
        )

    def _remedy(self, gone: Sequence[str]) -> str:
        data, name = self.data, str(self.bundle.manifest.encoder.get("name"))
        if name not in MADE_BY:
            name = self.store.name
        if self.bundle.encoder and name not in MADE_BY:
            return f"{fetch_videos(data, gone)}, then add --videos {data.root}"
        fetch, place = fetch_features(data, name), data.features(name)
        return fetch if place == self.store.root else f"{fetch}, then --features {place}"
