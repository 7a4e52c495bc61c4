"""The one table: what went wrong -> status and stable slug.

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

from dataclasses import dataclass

from extract import errors as extract_errors
from model import errors as model_errors
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


@dataclass(frozen=True)
class Kind:
    """One row of the contract with callers.

    Attributes:
        status: HTTP status.
        slug: stable code; a caller may switch on it.
        title: what it means, the same for every occurrence.
        is_retryable: the same request may succeed later.
        limits: names of the limits that explain a refusal.
    """

    status: int
    slug: str
    title: str
    is_retryable: bool = False
    limits: tuple[str, ...] = ()


MALFORMED = Kind(400, "malformed-request", "The request cannot be read.")
UNAUTHENTICATED = Kind(401, "unauthenticated", "A valid API key is needed.")
NOT_FOUND = Kind(404, "not-found", "There is nothing here.")
METHOD_NOT_ALLOWED = Kind(405, "method-not-allowed", "This path does not take this method.")
NOT_ACCEPTABLE = Kind(406, "not-acceptable", "No content type of the answer is accepted.")
KEY_IN_PROGRESS = Kind(
    409, "idempotency-in-progress", "A request with this key is being received.", True
)
NOT_FINISHED = Kind(409, "job-not-finished", "The job has no result.")
RESULT_EXPIRED = Kind(410, "result-expired", "The result is gone.", limits=("job_ttl_s",))
TOO_LARGE = Kind(
    413,
    "body-too-large",
    "The body is larger than the limit.",
    limits=("max_upload_bytes",),
)
UNSUPPORTED = Kind(415, "unsupported-media", "The body is of a type the server does not read.")
INVALID_FIELD = Kind(422, "invalid-field", "A field of the request is wrong.")
UNDECODABLE = Kind(
    422, "undecodable-video", "The video cannot be decoded.", limits=("decode_wall_s",)
)
NO_STREAM = Kind(422, "no-video-stream", "The file holds no video stream.")
TOO_SHORT = Kind(422, "too-short", "The video is too short.")
TOO_LONG = Kind(
    422,
    "too-long-for-sync",
    "The video is too long to be answered while the caller waits.",
    limits=("max_duration_s", "max_frames"),
)
TOO_LONG_FOR_JOB = Kind(
    422, "too-long", "The video is longer than a job may be.", limits=("job_max_duration_s",)
)
KEY_REUSED = Kind(
    422, "idempotency-key-reused", "This Idempotency-Key was sent before, with another body."
)
TOO_MANY_PIXELS = Kind(
    422, "too-many-pixels", "The frames are larger than the limit.", limits=("max_pixels",)
)
FRAME_RATE = Kind(
    422, "frame-rate-too-high", "The frame rate is higher than the limit.", limits=("max_fps",)
)
CODEC = Kind(422, "codec-not-allowed", "The video's codec is not accepted.")
FEATURES = Kind(422, "unusable-features", "The features are not this encoder's.")
QUEUE_FULL = Kind(
    429,
    "queue-full",
    "The server is full; come back later.",
    True,
    ("max_requests", "max_queued_windows", "max_spool_bytes"),
)
RATE_LIMITED = Kind(429, "rate-limited", "You ask more often than you may.", is_retryable=True)
CALLER_GONE = Kind(499, "caller-gone", "The caller hung up.")
INTERNAL = Kind(500, "internal", "The server failed; the fault is ours.")
STARTING = Kind(503, "starting", "The server is not ready yet.", is_retryable=True)
DRAINING = Kind(503, "draining", "The server is stopping.", is_retryable=True)
NO_JOBS = Kind(503, "jobs-unavailable", "The store of jobs does not answer.", is_retryable=True)
UNHEALTHY = Kind(503, "model-unhealthy", "The model does not answer.", is_retryable=True)
OUT_OF_MEMORY = Kind(503, "out-of-memory", "The device is out of memory.", is_retryable=True)
NO_DECODER = Kind(503, "decoder-unavailable", "No decoder can be started.", is_retryable=True)
DEADLINE = Kind(
    504, "deadline-exceeded", "The answer was not ready before the deadline.", True, ("timeout_s",)
)

TABLE: dict[type[Exception], Kind] = {
    MalformedRequest: MALFORMED,
    Unauthenticated: UNAUTHENTICATED,
    NotFound: NOT_FOUND,
    BodyTooLarge: TOO_LARGE,
    UnsupportedMedia: UNSUPPORTED,
    NotAcceptable: NOT_ACCEPTABLE,
    FeaturesInvalid: FEATURES,
    FeaturesTooLong: TOO_LONG,
    FieldInvalid: INVALID_FIELD,
    QueueFull: QUEUE_FULL,
    RateLimited: RATE_LIMITED,
    NotReady: STARTING,
    Unhealthy: UNHEALTHY,
    OutOfMemory: OUT_OF_MEMORY,
    Draining: DRAINING,
    JobNotFinished: NOT_FINISHED,
    ResultExpired: RESULT_EXPIRED,
    VideoTooLong: TOO_LONG_FOR_JOB,
    KeyInProgress: KEY_IN_PROGRESS,
    KeyReused: KEY_REUSED,
    JobsUnavailable: NO_JOBS,
    DeadlineExceeded: DEADLINE,
    CallerGone: CALLER_GONE,
    ServerError: INTERNAL,
    extract_errors.VideoRejected: UNDECODABLE,  # refined by its code, below
    extract_errors.DecoderDied: UNDECODABLE,
    extract_errors.DecodeTimeout: UNDECODABLE,
    extract_errors.DecoderUnavailable: NO_DECODER,
    extract_errors.RuntimeUnavailable: INTERNAL,
    extract_errors.FeatureFileInvalid: INTERNAL,
    extract_errors.ExtractError: INTERNAL,
    model_errors.UnknownTask: INVALID_FIELD,
    model_errors.SegmentInvalid: INVALID_FIELD,
    model_errors.SearchInvalid: INVALID_FIELD,
    model_errors.FeatureMismatch: FEATURES,
    model_errors.FeaturesMissing: INTERNAL,
    model_errors.BackpackInvalid: INTERNAL,
    model_errors.AnnotationInvalid: INTERNAL,
    model_errors.ScoringRefused: INTERNAL,
    model_errors.TaskInvalid: INTERNAL,
    model_errors.SettingInvalid: INTERNAL,
    model_errors.WorldMismatch: INTERNAL,
    model_errors.ModelError: INTERNAL,
    weights_errors.BundleMissing: INTERNAL,
    weights_errors.BundleError: INTERNAL,
    weights_errors.ImportRefused: INTERNAL,
    weights_errors.CheckpointInvalid: INTERNAL,
    weights_errors.FetchFailed: INTERNAL,
    weights_errors.HashDiffers: INTERNAL,
    weights_errors.WeightsError: INTERNAL,
}

REJECTED: dict[str, Kind] = {
    "not-a-video": UNSUPPORTED,
    "unsupported-container": UNSUPPORTED,
    "unsupported-codec": CODEC,
    "no-video-track": NO_STREAM,
    "too-many-pixels": TOO_MANY_PIXELS,
    "too-long": TOO_LONG,
    "too-many-frames": TOO_LONG,
    "frame-rate-too-high": FRAME_RATE,
    "damaged": UNDECODABLE,
    "too-short": TOO_SHORT,
    "reader-refused": UNDECODABLE,
}

BY_STATUS: dict[int, Kind] = {
    kind.status: kind
    for kind in (MALFORMED, UNAUTHENTICATED, NOT_FOUND, METHOD_NOT_ALLOWED, NOT_ACCEPTABLE)
}
"""What the framework refuses by itself."""


def kind_of(error: BaseException) -> Kind:
    """Returns the row of the nearest class in the table; anything unknown is our fault."""
    if isinstance(error, extract_errors.VideoRejected):
        return REJECTED.get(error.code, UNDECODABLE)
    for cls in type(error).__mro__:
        if cls in TABLE:
            return TABLE[cls]
    return INTERNAL
