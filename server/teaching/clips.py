"""Kept clips: features to learn from, each its caller's own, and the videos if wanted."""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from extract.features.track import FeatureTrack
from extract.features.track_file import track_bytes
from server.errors import ClipExists, NotFound, QuotaReached
from server.jobs.files import sha256_of
from server.settings.settings import Settings
from server.teaching.files import TeachingFiles, names_in

FACTS_FILE, FEATURES_FILE, VIDEO_FILE = "clip.json", "features.safetensors", "video"

MEDIA_TYPES = {"mp4": "video/mp4", "mov": "video/quicktime"}
"""By container; of others `video/webm`, which players take for Matroska too."""

_ID = re.compile("c_[0-9a-f]{16}")


class Clip(BaseModel):
    """What is known of a kept clip, as it is stored.

    Attributes:
        id: of this content under this name.
        owner: name of the API key that sent it; empty without keys.
        name: as labels name it.
        created_s: when it was kept, in seconds since 1970.
        origin_s: when its first frame is shown, on the clock of its file.
        end_s: when its last frame ends, on that clock.
        encoder: fingerprint of the encoder that made its features.
        sent_sha256: hash of what was sent.
        size_bytes: of everything that is kept.
        media_type: of the video; None if it is not kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    owner: str
    name: str
    created_s: float
    origin_s: float
    end_s: float
    encoder: str
    sent_sha256: str
    size_bytes: int
    media_type: str | None = None


@dataclass(frozen=True, eq=False)
class SentClip:
    """A clip as it is to be kept.

    Attributes:
        name: as labels will name it.
        track: its features.
        path: what was sent: the video, or the features.
        media_type: of the video, if that is to be kept.
    """

    name: str
    track: FeatureTrack
    path: Path
    media_type: str | None = None


class ClipStore:
    """The clips of every caller; blocking, and changed under the lock of clips."""

    def __init__(self, files: TeachingFiles, settings: Settings) -> None:
        self._files, self._settings = files, settings

    def keep(self, owner: str, sent: SentClip) -> tuple[Clip, bool]:
        """Keeps a clip; returns it, and whether it is new.

        Raises:
            ClipExists: the caller keeps another one under the name.
            QuotaReached: the caller keeps as many, or as much, as it may.
        """
        data = track_bytes(replace(sent.track, video_id=sent.name))
        digest = hashlib.sha256(data + b"\0" + owner.encode()).hexdigest()
        clip = Clip(
            id=f"c_{digest[:16]}",
            owner=owner,
            name=sent.name,
            created_s=time.time(),
            origin_s=sent.track.origin_s,
            end_s=sent.track.video_end_s,
            encoder=sent.track.encoder.fingerprint,
            sent_sha256=sha256_of(sent.path),
            size_bytes=len(data) + (sent.path.stat().st_size if sent.media_type else 0),
            media_type=sent.media_type,
        )
        kept = self.list(owner)
        same = next((one for one in kept if one.name == clip.name), None)
        if same is not None:
            if clip.id != same.id and clip.sent_sha256 != same.sent_sha256:
                raise ClipExists(f"you keep another clip as {clip.name!r}; delete it, or rename")
            if same.media_type is not None or clip.media_type is None:
                return same, False
            kept.remove(same)
        self._check_room(kept, clip)
        self._write(clip, data, sent.path)
        if same is not None and same.id != clip.id:
            self._files.discard(self._place(same))
        return clip, same is None

    def list(self, owner: str) -> list[Clip]:
        """Returns a caller's clips, oldest first."""
        folder = self._folder(owner)
        found = (_read(folder / name) for name in names_in(folder) if _ID.fullmatch(name))
        return sorted((one for one in found if one), key=lambda clip: (clip.created_s, clip.id))

    def find(self, owner: str, clip_id: str) -> Clip:
        """Returns a caller's clip.

        Raises:
            NotFound: there is none, or it is another caller's.
        """
        clip = _read(self._folder(owner) / clip_id) if _ID.fullmatch(clip_id) else None
        if clip is None:
            raise NotFound("you keep no clip with this id; see /v1/clips")
        return clip

    def delete(self, owner: str, clip_id: str) -> Clip:
        """Deletes a caller's clip, and returns what it was; raises as `find` does."""
        clip = self.find(owner, clip_id)
        self._files.discard(self._place(clip))
        return clip

    def features(self, clip: Clip) -> Path:
        """Path of a clip's features."""
        return self._place(clip) / FEATURES_FILE

    def video(self, clip: Clip) -> Path:
        """Path of a clip's video.

        Raises:
            NotFound: it is not kept.
        """
        if clip.media_type is None:
            raise NotFound("the video of this clip is not kept, only its features")
        return self._place(clip) / VIDEO_FILE

    def _write(self, clip: Clip, data: bytes, sent: Path) -> None:
        folder = self._files.new_folder()
        try:
            (folder / FACTS_FILE).write_text(clip.model_dump_json(), "utf-8")
            (folder / FEATURES_FILE).write_bytes(data)
            if clip.media_type is not None:
                shutil.copyfile(sent, folder / VIDEO_FILE)
            place = self._place(clip)
            if place.exists():  # the same features, now with their video
                self._files.discard(place)
            self._files.publish(folder, place)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _check_room(self, kept: Sequence[Clip], clip: Clip) -> None:
        if len(kept) >= (most := self._settings.teaching_clips):
            raise QuotaReached(f"you keep {len(kept)} clips, of at most {most}; delete some")
        size = sum(one.size_bytes for one in kept) + clip.size_bytes
        if size > (most := self._settings.teaching_storage_bytes):
            raise QuotaReached(f"your clips would take {size} bytes, of at most {most}")

    def _folder(self, owner: str) -> Path:
        return self._files.clips / hashlib.sha256(owner.encode()).hexdigest()[:32]

    def _place(self, clip: Clip) -> Path:
        return self._folder(clip.owner) / clip.id


def _read(place: Path) -> Clip | None:
    """Returns the clip in a folder; None if it is gone."""
    try:
        return Clip.model_validate_json((place / FACTS_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        raise OSError(f"{os.fspath(place)}: damaged: {error}") from error
