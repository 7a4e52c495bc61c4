"""The one table: what went wrong -> a row of `kinds`.

ServerError
├── MalformedRequest    the body cannot be read as a request
├── Unauthenticated     the API key is missing or wrong
├── NotFound            no such model
├── BodyTooLarge        more bytes than the limit
├── UnsupportedMedia    a content type the endpoint does not take
├── NotAcceptable       a content type was asked for that the endpoint does not give
├── FieldInvalid        fields of the request are wrong
├── FeaturesInvalid     the features sent are no track of this encoder
├── FeaturesTooLong     the features sent are of a clip longer than the limit
├── QueueFull           healthy, but full
├── RateLimited         this caller asks too often
├── NotReady            starting, or broken
├── Unhealthy           the model does not answer
│   └── EncoderLost     no encoder of this bundle answers, in whatever process
├── OutOfMemory         the device cannot hold the batch, not even half of it
├── Draining            stopping
├── JobNotFinished      there is no result, or not yet
├── ResultExpired       the result was kept for as long as promised
├── VideoTooLong        longer than even a job may be
├── KeyInProgress       a request with the same idempotency key is still coming in
├── KeyReused           the idempotency key came with another body before
├── JobsUnavailable     the store of jobs does not answer
├── DeadlineExceeded    the request's deadline has passed
└── CallerGone          the caller hung up; nobody is left to answer
"""

from extract import errors as extract_errors
from model import errors as model_errors
from server import problem_types as kinds
from server.problem_types import ProblemType
from weights import errors as weights_errors


class ServerError(Exception):
    """Root of what the server itself finds wrong; the message is sent to the caller."""


class MalformedRequest(ServerError):
    """The body cannot be read as a request at all."""


class Unauthenticated(ServerError):
    """The API key is missing or wrong."""


class NotFound(ServerError):
    """Something named in the path does not exist."""


class BodyTooLarge(ServerError):
    """The body has more bytes than the limit."""


class UnsupportedMedia(ServerError):
    """The content type is not one the endpoint takes."""


class NotAcceptable(ServerError):
    """The caller accepts no content type that the endpoint gives."""


class FeaturesInvalid(ServerError):
    """The features sent are not a track that this bundle can answer for."""


class FeaturesTooLong(ServerError):
    """The features sent are of a clip longer than the limit."""


class FieldInvalid(ServerError):
    """Fields are wrong; each is a JSON pointer and what is the matter with it."""

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{pointer}: {detail}" for pointer, detail in errors))
        self.errors = errors


class QueueFull(ServerError):
    """No room for another request before about `retry_after_s` seconds."""

    def __init__(self, retry_after_s: int = 1) -> None:
        super().__init__(f"the server is busy; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class RateLimited(ServerError):
    """The caller has used up its share; more comes in `retry_after_s` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many requests; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class NotReady(ServerError):
    """The model is not loaded yet, or could not be."""

    retry_after_s = 2


class Unhealthy(ServerError):
    """The canaries do not come back, so no clip would."""

    retry_after_s = 5


class EncoderLost(Unhealthy):
    """Encoders are processes of their own, and none with this bundle answers in time."""


class OutOfMemory(ServerError):
    """The device could not hold the batch, nor half of it."""

    retry_after_s = 5


class Draining(ServerError):
    """The server is stopping and takes no new work."""

    retry_after_s = 5


class JobNotFinished(ServerError):
    """The job has no result, or none yet."""


class ResultExpired(ServerError):
    """The job's result was kept for as long as promised, and is gone."""


class VideoTooLong(ServerError):
    """The video is longer than a job may be."""


class KeyInProgress(ServerError):
    """A request with the same idempotency key is still being received."""


class KeyReused(ServerError):
    """The idempotency key was sent before, with another body."""


class JobsUnavailable(ServerError):
    """The store of jobs cannot be used."""

    retry_after_s = 5


class DeadlineExceeded(ServerError):
    """The request's deadline passed before its answer was ready."""


class CallerGone(ServerError):
    """The caller hung up."""


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
    extract_errors.VideoRejected: kinds.UNDECODABLE,  # refined by its code, below
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
    """Returns the row of the nearest class in the table; anything unknown is our fault."""
    if isinstance(error, extract_errors.VideoRejected):
        return REJECTED.get(error.code, kinds.UNDECODABLE)
    for cls in type(error).__mro__:
        if cls in TABLE:
            return TABLE[cls]
    return kinds.INTERNAL
