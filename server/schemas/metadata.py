"""What the server says of itself, as JSON: models, labels, limits, health."""

from typing import Any, Literal

from server.schemas.prediction import Body, ModelIdentity


class Encoder(Body):
    """The video encoder of a bundle."""

    name: str
    kind: str
    """Which network it is."""
    fingerprint: str
    """Hash of its weights and contract; features of equal fingerprints may be mixed."""
    dim: int
    """Numbers in a feature."""
    contract: dict[str, Any]
    """How frames become its input: rate, windows, size, colour."""


class Skill(Body):
    """One task a bundle answers."""

    backbone: str
    perspectives: list[str]
    outputs: list[str]
    """Label spaces it answers in; their names are in `/v1/taxonomy`."""


class ModelFacts(ModelIdentity):
    """What a bundle says of itself."""

    tasks: list[str]
    encoder: Encoder
    skills: dict[str, Skill]
    label_counts: dict[str, int]
    """Label space -> number of labels; the labels are in `/v1/taxonomy`."""
    metrics: dict[str, dict[str, dict[str, float]]]
    """Split -> task -> metric -> value, as measured when the bundle was made."""
    licence: str | None = None
    backbone_passes: int
    """Backbone passes made since the server started."""


class Models(Body):
    """The models being served."""

    models: list[ModelFacts]


class Taxonomy(Body):
    """Names by id for every label space."""

    model: ModelIdentity
    label_spaces: dict[str, list[str]]


class Limits(Body):
    """Every limit in force."""

    max_upload_bytes: int
    """Of a request body."""
    max_choices_bytes: int
    """Of the JSON that goes with a clip."""
    max_inference_json_bytes: int
    """Of the JSON of an inference below `/v2`."""
    upload_timeout_s: float
    max_duration_s: float
    """Of a clip, or of the clip that features are of."""
    max_frames: int
    max_pixels: int
    """In a frame."""
    max_clip_pixels: int
    """In all frames of a clip together."""
    max_fps: float
    max_segments: int
    decode_wall_s: float
    decode_memory_mb: int
    max_top_k: int
    """Entries in a ranked list."""
    max_names: int
    """Tasks or perspectives in one request."""
    job_max_upload_bytes: int
    """Of a request body that becomes a job."""
    job_upload_timeout_s: float
    job_max_duration_s: float
    """Of a job's video."""
    job_max_segments: int
    job_timeout_s: float
    """Of one attempt at a job."""
    job_ttl_s: float
    """How long a job's result is kept."""
    max_jobs: int
    """Jobs that have not ended."""
    max_requests: int
    """Requests in the building at once."""
    max_queued_windows: int
    """Of all clips in the building."""
    max_spool_bytes: int
    """Of all clips in the building."""
    timeout_s: float
    """Default deadline of a request, and the longest it may ask for."""


class Health(Body):
    """A probe's answer."""

    status: Literal["alive", "ready"]
    checks: dict[str, str] | None = None
    """What readiness rests on; only with `verbose`."""
