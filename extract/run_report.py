"""What a run over a data set did, kept beside its features as `report.json`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from extract.encoder import VideoEncoder
from extract.errors import DecoderDied, DecodeTimeout, VideoRejected
from weights.errors import RemoteFailed, RemoteMissing
from weights.folders import Folder

_FORMAT = "egopack-extraction/1"


@dataclass(frozen=True)
class Entry:
    """What became of one video.

    Attributes:
        status: "skipped": its features were there, whole, and of this encoder.
        path: where the video is.
        windows: rows of its features.
        seconds: from the first look at it to its last window.
        why: stable reason why it failed.
        detail: the same as a sentence.
    """

    status: Literal["written", "skipped", "failed"]
    path: str
    windows: int = 0
    seconds: float = 0.0
    why: str | None = None
    detail: str | None = None


@dataclass
class RunReport:
    """What a run did so far.

    Attributes:
        encoder: name and fingerprint of what made the features.
        videos: id -> what became of it.
        seconds: the run took.
        stopped_by: name of the signal that ended it early.
    """

    encoder: dict[str, str]
    videos: dict[str, Entry] = field(default_factory=dict)
    seconds: float = 0.0
    stopped_by: str | None = None

    @classmethod
    def of(cls, encoder: VideoEncoder) -> "RunReport":
        """Starts the report of a run with this encoder."""
        return cls({"name": encoder.name, "fingerprint": encoder.fingerprint})

    @classmethod
    def read(cls, folder: Folder, name: str) -> "RunReport | None":
        """Returns the report of an earlier run; None where there is none that can be used.

        Raises:
            RemoteFailed: the folder lies behind a URL that cannot be reached.
        """
        try:
            values = json.loads(folder.read(name))
            if values.pop("format") != _FORMAT:
                return None
            values["videos"] = {k: Entry(**entry) for k, entry in values["videos"].items()}
            return cls(**values)
        except RemoteMissing:
            return None
        except RemoteFailed:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, folder: Folder, name: str) -> None:
        """Replaces the file by one that is whole."""
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n"
        folder.write(name, text.encode())

    def count(self, status: str) -> int:
        """Returns how many videos ended that way."""
        return sum(entry.status == status for entry in self.videos.values())

    @property
    def failed(self) -> Mapping[str, Entry]:
        """The videos that failed."""
        return {k: entry for k, entry in self.videos.items() if entry.status == "failed"}

    def summary(self) -> dict[str, Any]:
        """Returns what a caller of the command wants to know: plain JSON types."""
        windows = sum(e.windows for e in self.videos.values() if e.status == "written")
        return {
            "written": self.count("written"),
            "skipped": self.count("skipped"),
            "failed": {k: f"{entry.why}: {entry.detail}" for k, entry in self.failed.items()},
            "windows": windows,
            "seconds": round(self.seconds, 1),
            "stopped_by": self.stopped_by,
        }


def report_name(shard: tuple[int, int]) -> str:
    """Returns what a run's report is called; each shard has its own."""
    index, count = shard
    return "report.json" if count == 1 else f"report-{index}-of-{count}.json"


def reason(error: Exception) -> tuple[str, str]:
    """Returns a stable slug and a sentence for what a video failed of."""
    match error:
        case VideoRejected():
            return error.code, error.detail
        case DecoderDied():
            return "decoder-died", str(error)
        case DecodeTimeout():
            return "decode-timeout", str(error)
        case FileNotFoundError():
            return "missing-file", f"there is no {error.filename}"
        case OSError():
            return "file-error", str(error)
        case _:
            return "failed", str(error)
