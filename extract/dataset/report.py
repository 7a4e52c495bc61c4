"""Run report: the result of each video, stored beside the features as `report.json`."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from extract.decode.clip import Notice
from extract.encoders.encoder import VideoEncoder
from extract.encoders.load import encoder_spec
from extract.encoders.torch_encoder import TorchEncoder
from extract.errors import DecoderDied, DecodeTimeout, FeatureFileInvalid, VideoRejected
from weights.errors import RemoteFailed, RemoteMissing
from weights.storage.folders import Folder

_FORMAT = "egopack-extraction/1"
_REPORT = re.compile(r"report(-\d+-of-\d+)?\.json")


@dataclass(frozen=True)
class Entry:
    """Result of one video.

    Attributes:
        status: "skipped": its features were there, whole, and of this encoder.
        path: of the video.
        windows: rows of its features.
        seconds: from opening it to its last window.
        why: stable slug of its failure.
        detail: the failure as a sentence.
        notices: limitations of its features, such as missing frames.
    """

    status: Literal["written", "skipped", "failed"]
    path: str
    windows: int = 0
    seconds: float = 0.0
    why: str | None = None
    detail: str | None = None
    notices: tuple[Notice, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Entry":
        """Returns the entry of `asdict`'s values, also of earlier releases.

        Raises:
            TypeError: they are no entry.
        """
        notices = tuple(Notice(**notice) for notice in values.get("notices", ()))
        return cls(**{**values, "notices": notices})


@dataclass
class RunReport:
    """Report of a run so far.

    Attributes:
        encoder: name, fingerprint and contract; network and origin, too, where torch runs it.
        videos: id -> result.
        seconds: of the run.
        stopped_by: name of the signal that ended it early.
    """

    encoder: dict[str, Any]
    videos: dict[str, Entry] = field(default_factory=dict)
    seconds: float = 0.0
    stopped_by: str | None = None

    @classmethod
    def of(cls, encoder: VideoEncoder) -> "RunReport":
        """Starts the report of a run with this encoder."""
        facts = {
            "name": encoder.name,
            "fingerprint": encoder.fingerprint,
            "contract": encoder.contract.to_dict(),
        }
        return cls(encoder_spec(encoder) if isinstance(encoder, TorchEncoder) else facts)

    @classmethod
    def read(cls, folder: Folder, name: str) -> "RunReport | None":
        """Returns the report of an earlier run; None where there is no usable one.

        Raises:
            RemoteFailed: the folder lies behind a URL that cannot be reached.
        """
        try:
            values = json.loads(folder.read(name))
            if values.pop("format") != _FORMAT:
                return None
            values["videos"] = {k: Entry.from_dict(entry) for k, entry in values["videos"].items()}
            return cls(**values)
        except RemoteMissing:
            return None
        except RemoteFailed:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, folder: Folder, name: str) -> None:
        """Replaces the file atomically."""
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
        """Returns the summary that the command prints: plain JSON types."""
        windows = sum(e.windows for e in self.videos.values() if e.status == "written")
        codes = ({n.code for n in entry.notices} for entry in self.videos.values())
        return {
            "written": self.count("written"),
            "skipped": self.count("skipped"),
            "failed": {k: f"{entry.why}: {entry.detail}" for k, entry in self.failed.items()},
            "notices": dict(sorted(Counter(code for of_one in codes for code in of_one).items())),
            "windows": windows,
            "seconds": round(self.seconds, 1),
            "stopped_by": self.stopped_by,
        }


def kept_notices(folder: Folder, name: str) -> dict[str, tuple[Notice, ...]]:
    """Returns the notices of stored videos by id, from the reports of earlier runs.

    Raises:
        RemoteFailed: the folder lies behind a URL that cannot be reached.
    """
    names = sorted(other for other in folder.files() if _REPORT.fullmatch(other) and other != name)
    reports = (RunReport.read(folder, one) for one in (*names, name))
    return {
        id: entry.notices
        for report in reports
        if report is not None
        for id, entry in report.videos.items()
        if entry.status != "failed"
    }


def report_name(shard: tuple[int, int]) -> str:
    """Returns the file name of a shard's report."""
    index, count = shard
    return "report.json" if count == 1 else f"report-{index}-of-{count}.json"


def reason(error: Exception) -> tuple[str, str]:
    """Returns a stable slug and a sentence for a video's failure."""
    match error:
        case VideoRejected():
            return error.code, error.detail
        case DecoderDied():
            return "decoder-died", str(error)
        case DecodeTimeout():
            return "decode-timeout", str(error)
        case FeatureFileInvalid():
            return "not-finite", str(error)
        case FileNotFoundError():
            return "missing-file", f"there is no {error.filename}"
        case OSError():
            return "file-error", str(error)
        case _:
            return "failed", str(error)
