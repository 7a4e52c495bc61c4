"""Server exceptions, and the one table from exceptions of every package to problem types.

ServerError
├── MalformedRequest, Unauthenticated, QueueFull and every other class below
├── Unhealthy
│   └── EncoderLost
└── JobsUnavailable
    └── OutcomeUnknown
"""

import errno

from extract import errors as extract_errors
from model import errors as model_errors
from server import problem_types as kinds
from server.problem_types import ProblemType
from weights import errors as weights_errors

TABLE: dict[type[Exception], ProblemType] = {
    extract_errors.VideoRejected: kinds.UNDECODABLE,  # refined by REJECTED
    extract_errors.DecoderDied: kinds.UNDECODABLE,
    extract_errors.DecodeTimeout: kinds.NO_DECODER,
    extract_errors.DecodeStalled: kinds.NO_DECODER,
    extract_errors.DecoderUnavailable: kinds.NO_DECODER,
    extract_errors.RuntimeUnavailable: kinds.INTERNAL,
    extract_errors.ClusterFailed: kinds.INTERNAL,
    extract_errors.FeatureFileInvalid: kinds.INTERNAL,
    extract_errors.ExtractError: kinds.INTERNAL,
    model_errors.UnknownTask: kinds.INVALID_FIELD,
    model_errors.SegmentInvalid: kinds.INVALID_FIELD,
    model_errors.SearchInvalid: kinds.INVALID_FIELD,
    model_errors.FeatureMismatch: kinds.FEATURES,
    model_errors.FeaturesMissing: kinds.INTERNAL,
    model_errors.VideosUnreadable: kinds.INTERNAL,
    model_errors.BackpackInvalid: kinds.INTERNAL,
    model_errors.AnnotationInvalid: kinds.INTERNAL,
    model_errors.LabelsInvalid: kinds.INTERNAL,
    model_errors.ScoringRefused: kinds.INTERNAL,
    model_errors.TaskInvalid: kinds.INTERNAL,
    model_errors.Stopped: kinds.INTERNAL,
    model_errors.RanksWrong: kinds.INTERNAL,
    model_errors.RanksLost: kinds.INTERNAL,
    model_errors.SettingInvalid: kinds.INTERNAL,
    model_errors.ModelError: kinds.INTERNAL,
    weights_errors.BundleMissing: kinds.INTERNAL,
    weights_errors.BundleError: kinds.INTERNAL,
    weights_errors.ImportRefused: kinds.INTERNAL,
    weights_errors.CheckpointInvalid: kinds.INTERNAL,
    weights_errors.FetchFailed: kinds.INTERNAL,
    weights_errors.HashDiffers: kinds.INTERNAL,
    weights_errors.TermsNotAccepted: kinds.INTERNAL,
    weights_errors.RemoteFailed: kinds.INTERNAL,
    weights_errors.RemoteMissing: kinds.INTERNAL,
    weights_errors.WeightsError: kinds.INTERNAL,
}
"""Problem types of other packages' exceptions; this module's classes add theirs."""


class ServerError(Exception):
    """Root of the server's own exceptions; the message is sent to the caller."""

    def __init_subclass__(cls, *, problem: ProblemType | None = None) -> None:
        """Enters a subclass into the table, unless its parent's problem type applies."""
        if problem is not None:
            TABLE[cls] = problem


TABLE[ServerError] = kinds.INTERNAL

MAX_ERRORS = 20
"""Wrong fields in one answer."""

MAX_POINTER_CHARS = 256
MAX_DETAIL_CHARS = 512


class MalformedRequest(ServerError, problem=kinds.MALFORMED):
    """The body cannot be read as a request at all."""


class Unauthenticated(ServerError, problem=kinds.UNAUTHENTICATED):
    """The API key is missing or wrong."""


class CrossSite(ServerError, problem=kinds.CROSS_SITE):
    """A page of another site sent the request."""


class WrongHost(ServerError, problem=kinds.WRONG_HOST):
    """The `Host` header names no host that the server answers to."""


class UriTooLong(ServerError, problem=kinds.URI_TOO_LONG):
    """The path or the query is longer than its limit."""


class HeadersTooLarge(ServerError, problem=kinds.HEADERS_TOO_LARGE):
    """The headers are more, or larger, than their limits."""


class NotFound(ServerError, problem=kinds.NOT_FOUND):
    """Something named in the path does not exist."""


class BodyTooLarge(ServerError, problem=kinds.TOO_LARGE):
    """The body has more bytes than the limit."""


class UnsupportedMedia(ServerError, problem=kinds.UNSUPPORTED):
    """The endpoint does not accept the content type."""


class NotAcceptable(ServerError, problem=kinds.NOT_ACCEPTABLE):
    """The caller accepts no content type that the endpoint produces."""


class FeaturesInvalid(ServerError, problem=kinds.FEATURES):
    """The features sent are no track of this bundle's encoder."""


class FeaturesTooLong(ServerError, problem=kinds.TOO_LONG):
    """The features sent were made from a clip longer than the limit."""


class FieldInvalid(ServerError, problem=kinds.INVALID_FIELD):
    """Fields are wrong; each is a JSON pointer and a detail.

    At most `MAX_ERRORS` of them are kept, each as long as `MAX_POINTER_CHARS` and
    `MAX_DETAIL_CHARS` allow: pointers and details may hold what the caller sent.
    """

    def __init__(self, *errors: tuple[str, str]) -> None:
        self.errors = tuple(
            (_shortened(pointer, MAX_POINTER_CHARS), _shortened(detail, MAX_DETAIL_CHARS))
            for pointer, detail in errors[:MAX_ERRORS]
        )
        super().__init__("; ".join(f"{pointer}: {detail}" for pointer, detail in self.errors))


class QueueFull(ServerError, problem=kinds.QUEUE_FULL):
    """The server has no capacity for another request for about `retry_after_s` seconds."""

    def __init__(self, retry_after_s: int = 1) -> None:
        super().__init__(f"the server is busy; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class RateLimited(ServerError, problem=kinds.RATE_LIMITED):
    """The caller is over its rate limit for another `retry_after_s` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many requests; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class NotReady(ServerError, problem=kinds.STARTING):
    """The model is not loaded yet, or failed to load."""

    retry_after_s = 2


class Unhealthy(ServerError, problem=kinds.UNHEALTHY):
    """Health canaries fail, so a clip would too."""


class EncoderLost(Unhealthy, problem=kinds.UNHEALTHY):
    """No encoder process with this bundle responds in time."""


class OutOfMemory(ServerError, problem=kinds.OUT_OF_MEMORY):
    """The device has too little memory even for half of the batch."""


class HostOutOfMemory(OutOfMemory, problem=kinds.OUT_OF_MEMORY):
    """The machine has no memory left, which may pass, as other processes may have it."""


class TeachingOff(ServerError, problem=kinds.TEACHING_OFF):
    """The operator has turned teaching off, or it is off beyond loopback by default."""


class ClipExists(ServerError, problem=kinds.CLIP_EXISTS):
    """The caller keeps another clip under the name."""


class QuotaReached(ServerError, problem=kinds.TEACHING_QUOTA):
    """The caller keeps as many clips, bytes, skills or versions as it may."""


class SkillOwned(ServerError, problem=kinds.SKILL_OWNED):
    """The skill belongs to another API key."""


class SkillActive(ServerError, problem=kinds.SKILL_ACTIVE):
    """The skill is served, so it cannot be deleted."""


class SkillUnusable(ServerError, problem=kinds.SKILL_UNUSABLE):
    """The version was learnt on another bundle than the one that is configured."""


class LabelsInvalid(FieldInvalid, problem=kinds.LABELS_INVALID):
    """Labels, or the task they are of, are wrong; each a JSON pointer or a line, and a detail."""


class Draining(ServerError, problem=kinds.DRAINING):
    """The server is stopping and accepts no new work."""


class JobNotFinished(ServerError, problem=kinds.NOT_FINISHED):
    """The job has no result, or none yet."""


class ResultExpired(ServerError, problem=kinds.RESULT_EXPIRED):
    """The job's result was deleted at the end of its retention time."""


class VideoTooLong(ServerError, problem=kinds.TOO_LONG_FOR_JOB):
    """The video is longer than a job may be."""


class KeyInProgress(ServerError, problem=kinds.KEY_IN_PROGRESS):
    """A request with the same idempotency key is still being received."""


class KeyReused(ServerError, problem=kinds.KEY_REUSED):
    """The idempotency key was sent before, with another body."""


class JobsUnavailable(ServerError, problem=kinds.NO_JOBS):
    """The job store, or the folder of job files, cannot be used now."""


class OutcomeUnknown(JobsUnavailable, problem=kinds.NO_JOBS):
    """The job store stopped answering while it wrote: what was sent may be stored, or not."""


class StorageUnavailable(ServerError, problem=kinds.NO_STORAGE):
    """A folder of the server cannot be written: its disk is full, read-only or broken."""

    retry_after_s = 30


class DeadlineExceeded(ServerError, problem=kinds.DEADLINE):
    """The request's deadline passed before its response was ready."""


class CallerGone(ServerError, problem=kinds.CALLER_GONE):
    """The client disconnected."""


REJECTED: dict[str, ProblemType] = {
    "not-a-video": kinds.UNSUPPORTED,
    "unsupported-container": kinds.UNSUPPORTED,
    "unsupported-codec": kinds.CODEC,
    "no-video-track": kinds.NO_STREAM,
    "too-many-pixels": kinds.TOO_MANY_PIXELS,
    "too-large": kinds.TOO_LARGE_FOR_SYNC,
    "too-long": kinds.TOO_LONG,
    "too-many-frames": kinds.TOO_LONG,
    "frame-rate-too-high": kinds.FRAME_RATE,
    "damaged": kinds.UNDECODABLE,
    "too-short": kinds.TOO_SHORT,
    "reader-refused": kinds.UNDECODABLE,
    "too-slow": kinds.UNDECODABLE,
    "too-slow-for-job": kinds.UNDECODABLE,
}


EXHAUSTED = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
"""Error numbers of a machine that is out of disk space, descriptors or memory, wherever met."""


NO_MEMORY = (
    "can't allocate memory",  # torch's allocator on a CPU
    "not enough memory",
    "Failed to allocate memory",  # ONNX Runtime's
    "bad allocation",
    "could not create a primitive",  # oneDNN's layers; the same ones were made before
    "could not create a memory",
    "can't start new thread",
)
"""Words of a `RuntimeError` of a library to which the system gave no memory, or no thread."""


def is_out_of_host_memory(error: BaseException) -> bool:
    """Whether the machine has no memory: other processes may have it, and give it back."""
    if isinstance(error, MemoryError | HostOutOfMemory):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def kind_of(error: BaseException) -> ProblemType:
    """Returns the problem type of the exception's nearest class in the table; default: INTERNAL."""
    if isinstance(error, OSError) and error.errno in EXHAUSTED:
        return kinds.NO_STORAGE
    if is_out_of_host_memory(error):
        return kinds.OUT_OF_MEMORY
    if isinstance(error, extract_errors.VideoRejected):
        return REJECTED.get(error.code, kinds.UNDECODABLE)
    for cls in type(error).__mro__:
        if cls in TABLE:
            return TABLE[cls]
    return kinds.INTERNAL
