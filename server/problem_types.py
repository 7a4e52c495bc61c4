"""Problem types (RFC 9457): every status, slug and title of an error response."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProblemType:
    """One type of error response; part of the API's contract.

    Attributes:
        status: HTTP status.
        slug: stable code for clients to switch on.
        title: its meaning, the same for every occurrence.
        is_retryable: the same request may succeed later.
        limits: names of the limits that explain the error.
    """

    status: int
    slug: str
    title: str
    is_retryable: bool = False
    limits: tuple[str, ...] = ()


MALFORMED = ProblemType(400, "malformed-request", "The request cannot be read.")
UNAUTHENTICATED = ProblemType(401, "unauthenticated", "A valid API key is needed.")
CROSS_SITE = ProblemType(403, "cross-site", "Pages of other sites may not use this server.")
SKILL_OWNED = ProblemType(403, "skill-owned", "Another API key's skill has this name.")
NOT_FOUND = ProblemType(404, "not-found", "There is nothing here.")
TEACHING_OFF = ProblemType(404, "teaching-off", "This server is taught nothing over HTTP.")
METHOD_NOT_ALLOWED = ProblemType(405, "method-not-allowed", "This path does not take this method.")
NOT_ACCEPTABLE = ProblemType(406, "not-acceptable", "No content type of the answer is accepted.")
KEY_IN_PROGRESS = ProblemType(
    409, "idempotency-in-progress", "A request with this key is being received.", True
)
NOT_FINISHED = ProblemType(409, "job-not-finished", "The job has no result.")
CLIP_EXISTS = ProblemType(409, "clip-exists", "Another clip of yours has this name.")
SKILL_ACTIVE = ProblemType(409, "skill-active", "The skill is being served.")
SKILL_UNUSABLE = ProblemType(409, "skill-unusable", "The version was learnt on another bundle.")
TEACHING_QUOTA = ProblemType(
    409,
    "teaching-quota",
    "You keep as much as you may.",
    limits=("teaching_clips", "teaching_storage_bytes", "teaching_skills", "teaching_versions"),
)
RESULT_EXPIRED = ProblemType(410, "result-expired", "The result is gone.", limits=("job_ttl_s",))
TOO_LARGE = ProblemType(
    413,
    "body-too-large",
    "The body is larger than the limit.",
    limits=("max_upload_bytes",),
)
URI_TOO_LONG = ProblemType(414, "uri-too-long", "The path or the query is too long.")
UNSUPPORTED = ProblemType(
    415, "unsupported-media", "The body is of a type the server does not read."
)
WRONG_HOST = ProblemType(421, "wrong-host", "This server does not answer to that name.")
INVALID_FIELD = ProblemType(422, "invalid-field", "A field of the request is wrong.")
LABELS_INVALID = ProblemType(
    422, "labels-invalid", "The labels, or the task, are wrong.", limits=("teaching_labels",)
)
UNDECODABLE = ProblemType(
    422, "undecodable-video", "The video cannot be decoded.", limits=("decode_cpu_s",)
)
NO_STREAM = ProblemType(422, "no-video-stream", "The file holds no video stream.")
TOO_SHORT = ProblemType(422, "too-short", "The video is too short.")
TOO_LONG = ProblemType(
    422,
    "too-long-for-sync",
    "The video is too long to be answered while the caller waits.",
    limits=("max_duration_s", "max_frames"),
)
TOO_LONG_FOR_JOB = ProblemType(
    422, "too-long", "The video is longer than a job may be.", limits=("job_max_duration_s",)
)
KEY_REUSED = ProblemType(
    422, "idempotency-key-reused", "This Idempotency-Key was sent before, with another body."
)
TOO_MANY_PIXELS = ProblemType(
    422, "too-many-pixels", "The frames are larger than the limit.", limits=("max_pixels",)
)
TOO_LARGE_FOR_SYNC = ProblemType(
    422,
    "too-large-for-sync",
    "The video has too many pixels in all to be answered while the caller waits.",
    limits=("max_clip_pixels",),
)
FRAME_RATE = ProblemType(
    422, "frame-rate-too-high", "The frame rate is higher than the limit.", limits=("max_fps",)
)
CODEC = ProblemType(422, "codec-not-allowed", "The video's codec is not accepted.")
FEATURES = ProblemType(422, "unusable-features", "The features are not this encoder's.")
QUEUE_FULL = ProblemType(
    429,
    "queue-full",
    "The server is full; come back later.",
    True,
    (
        "max_requests",
        "max_queued_windows",
        "max_spool_bytes",
        "max_jobs",
        "max_job_uploads",
        "max_event_streams",
        "live_sessions",
        "max_caller_share",
    ),
)
RATE_LIMITED = ProblemType(
    429, "rate-limited", "You ask more often than you may.", is_retryable=True
)
HEADERS_TOO_LARGE = ProblemType(431, "headers-too-large", "The headers are too many or too large.")
CALLER_GONE = ProblemType(499, "caller-gone", "The caller hung up.")
INTERNAL = ProblemType(500, "internal", "The server failed; the fault is ours.")
STARTING = ProblemType(503, "starting", "The server is not ready yet.", is_retryable=True)
DRAINING = ProblemType(503, "draining", "The server is stopping.", is_retryable=True)
NO_JOBS = ProblemType(
    503, "jobs-unavailable", "The store of jobs does not answer.", is_retryable=True
)
NO_STORAGE = ProblemType(
    503, "storage-unavailable", "The server cannot store uploads now.", is_retryable=True
)
UNHEALTHY = ProblemType(503, "model-unhealthy", "The model does not answer.", is_retryable=True)
OUT_OF_MEMORY = ProblemType(
    503, "out-of-memory", "The server or its device is out of memory.", is_retryable=True
)
NO_DECODER = ProblemType(
    503, "decoder-unavailable", "No decoder is there, or none had the time.", is_retryable=True
)
DEADLINE = ProblemType(
    504, "deadline-exceeded", "The answer was not ready before the deadline.", True, ("timeout_s",)
)

BY_STATUS: dict[int, ProblemType] = {
    kind.status: kind
    for kind in (MALFORMED, UNAUTHENTICATED, NOT_FOUND, METHOD_NOT_ALLOWED, NOT_ACCEPTABLE)
}
"""Error responses of the web framework."""
