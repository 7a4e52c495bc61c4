"""Server exceptions, and the one table from exceptions of every package to problem types.

ServerError
├── MalformedRequest, BodyTooLarge, UnsupportedMedia, NotAcceptable, FieldInvalid      the request
├── FeaturesInvalid, FeaturesTooLong, VideoTooLong                                     its clip
├── Unauthenticated, RateLimited, NotFound, CallerGone                                 its caller
├── QueueFull, NotReady, Draining, OutOfMemory, DeadlineExceeded, JobsUnavailable      the server
├── Unhealthy
│   └── EncoderLost                                                                    the model
└── JobNotFinished, ResultExpired, KeyInProgress, KeyReused                            jobs
"""

from extract import errors as extract_errors
from model import errors as model_errors
from server import problem_types as kinds
from server.problem_types import ProblemType
from weights import errors as weights_errors


class ServerError(Exception):
    """Root of the server's own exceptions; the message is sent to the caller."""


class MalformedRequest(ServerError):
    """The body cannot be read as a request at all."""


class Unauthenticated(ServerError):
    """The API key is missing or wrong."""


class NotFound(ServerError):
    """Something named in the path does not exist."""


class BodyTooLarge(ServerError):
    """The body has more bytes than the limit."""


class UnsupportedMedia(ServerError):
    """The endpoint does not accept the content type."""


class NotAcceptable(ServerError):
    """The caller accepts no content type that the endpoint produces."""


class FeaturesInvalid(ServerError):
    """The features sent are no track of this bundle's encoder."""


class FeaturesTooLong(ServerError):
    """The features sent were made from a clip longer than the limit."""


class FieldInvalid(ServerError):
    """Fields are wrong; each is a JSON pointer and a detail."""

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{pointer}: {detail}" for pointer, detail in errors))
        self.errors = errors


class QueueFull(ServerError):
    """The server has no capacity for another request for about `retry_after_s` seconds."""

    def __init__(self, retry_after_s: int = 1) -> None:
        super().__init__(f"the server is busy; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class RateLimited(ServerError):
    """The caller is over its rate limit for another `retry_after_s` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many requests; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class NotReady(ServerError):
    """The model is not loaded yet, or failed to load."""

    retry_after_s = 2


class Unhealthy(ServerError):
    """Health canaries fail, so a clip would too."""

    retry_after_s = 5


class EncoderLost(Unhealthy):
    """No encoder process with this bundle responds in time."""


class OutOfMemory(ServerError):
    """The device has too little memory even for half of the batch."""

    retry_after_s = 5


class Draining(ServerError):
    """The server is stopping and accepts no new work."""

    retry_after_s = 5


class JobNotFinished(ServerError):
    """The job has no result, or none yet."""


class ResultExpired(ServerError):
    """The job's result was deleted at the end of its retention time."""


class VideoTooLong(ServerError):
    """The video is longer than a job may be."""


class KeyInProgress(ServerError):
    """A request with the same idempotency key is still being received."""


class KeyReused(ServerError):
    """The idempotency key was sent before, with another body."""


class JobsUnavailable(ServerError):
    """The job store cannot be used."""

    retry_after_s = 5


class DeadlineExceeded(ServerError):
    """The request's deadline passed before its response was ready."""


class CallerGone(ServerError):
    """The client disconnected."""


TABLE: dict[type[Exception], ProblemType] = {
    MalformedRequest: kinds.MALFORMED,
    Unauthenticated: kinds.UNAUTHENTICATED,
    NotFound: kinds.NOT_FOUND,
    BodyTooLarge: kinds.TOO_LARGE,
    UnsupportedMedia: kinds.UNSUPPORTED,
    NotAcceptable: kinds.NOT_ACCEPTABLE,
    FeaturesInvalid: kinds.FEATURES,
    FeaturesTooLong: kinds.TOO_LONG,
    FieldInvalid: kinds.INVALID_FIELD,
    QueueFull: kinds.QUEUE_FULL,
    RateLimited: kinds.RATE_LIMITED,
    NotReady: kinds.STARTING,
    Unhealthy: kinds.UNHEALTHY,
    EncoderLost: kinds.UNHEALTHY,
    OutOfMemory: kinds.OUT_OF_MEMORY,
    Draining: kinds.DRAINING,
    JobNotFinished: kinds.NOT_FINISHED,
    ResultExpired: kinds.RESULT_EXPIRED,
    VideoTooLong: kinds.TOO_LONG_FOR_JOB,
    KeyInProgress: kinds.KEY_IN_PROGRESS,
    KeyReused: kinds.KEY_REUSED,
    JobsUnavailable: kinds.NO_JOBS,
    DeadlineExceeded: kinds.DEADLINE,
    CallerGone: kinds.CALLER_GONE,
    ServerError: kinds.INTERNAL,
    extract_errors.VideoRejected: kinds.UNDECODABLE,  # refined by REJECTED
    extract_errors.DecoderDied: kinds.UNDECODABLE,
    extract_errors.DecodeTimeout: kinds.UNDECODABLE,
    extract_errors.DecodeStalled: kinds.UNDECODABLE,
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
    weights_errors.RemoteFailed: kinds.INTERNAL,
    weights_errors.RemoteMissing: kinds.INTERNAL,
    weights_errors.WeightsError: kinds.INTERNAL,
}

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
}


def kind_of(error: BaseException) -> ProblemType:
    """Returns the problem type of the exception's nearest class in the table; default: INTERNAL."""
    if isinstance(error, extract_errors.VideoRejected):
        return REJECTED.get(error.code, kinds.UNDECODABLE)
    for cls in type(error).__mro__:
        if cls in TABLE:
            return TABLE[cls]
    return kinds.INTERNAL
