"""Metadata of the server as JSON: models, label spaces, limits, health."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from model.predict.predictor import Predictor
from model.tasks import FIXED_LABELS
from server.schemas.options import MAX_INFERENCE_JSON_BYTES, MAX_NAMES, MAX_OPTIONS_BYTES, MAX_TOP_K
from server.schemas.prediction import Body, ModelIdentity
from server.settings.settings import Settings


class Encoder(Body):
    """The video encoder of a bundle."""

    name: str
    kind: str
    """Network architecture."""
    fingerprint: str
    """Hash of its weights and contract; features of equal fingerprints may be mixed."""
    dim: int
    """Length of a feature vector."""
    contract: dict[str, Any]
    """How frames become its input: rate, windows, size, colour."""


class Skill(Body):
    """One task of a bundle."""

    backbone: str
    perspectives: list[str]
    outputs: list[str]
    """Label spaces of its outputs; their names are in `/v1/taxonomy`."""


class ModelFacts(ModelIdentity):
    """Metadata of a bundle."""

    tasks: list[str]
    encoder: Encoder
    skills: dict[str, Skill]
    label_counts: dict[str, int]
    """Label space -> number of labels; the labels are in `/v1/taxonomy`."""
    metrics: dict[str, dict[str, dict[str, float]]]
    """Split -> task -> metric -> value, as measured when the bundle was made."""
    licence: str | None = None
    backbone_passes: int
    """Backbone passes since the server started."""

    @classmethod
    def of(cls, predictor: Predictor) -> Self:
        """Returns the metadata of the bundle being served."""
        manifest, encoder = predictor.manifest, predictor.encoder
        licence = manifest.training.get("licence")
        return cls(
            **identity(predictor).model_dump(),
            tasks=list(predictor.tasks),
            encoder=Encoder(
                name=encoder.name,
                kind=str(manifest.encoder.get("kind", "swin")),
                fingerprint=encoder.fingerprint,
                dim=encoder.dim,
                contract=encoder.contract.to_dict(),
            ),
            skills={
                task: Skill(
                    backbone=skill["backbone"],
                    perspectives=list(skill["perspectives"]),
                    outputs=list(skill["spec"]["outputs"]),
                )
                for task, skill in manifest.skills.items()
            },
            label_counts={space: len(names) for space, names in manifest.label_spaces.items()},
            metrics=_numbers(manifest.metrics),
            licence=None if licence is None else str(licence),
            backbone_passes=predictor.backbone_passes,
        )


class Models(Body):
    """The models being served."""

    models: list[ModelFacts]


class Taxonomy(Body):
    """Label names by id for every label space."""

    model: ModelIdentity
    label_spaces: dict[str, list[str]]

    @classmethod
    def of(cls, predictor: Predictor) -> Self:
        """Returns the labels of the bundle being served, those of fixed label spaces included."""
        manifest = predictor.manifest
        used = {name for skill in manifest.skills.values() for name in skill["spec"]["outputs"]}
        fixed = {space: names for space, names in FIXED_LABELS.items() if space in used}
        return cls(model=identity(predictor), label_spaces=manifest.label_spaces | fixed)


class Limits(Body):
    """Every limit in force."""

    max_upload_bytes: int
    """Size of a request body."""
    max_choices_bytes: int
    """Size of the JSON options sent with a clip."""
    max_inference_json_bytes: int
    """Size of the JSON of an inference below `/v2`."""
    upload_timeout_s: float
    min_upload_bytes_s: float
    """Slowest rate of a request body, in bytes per second."""
    upload_stall_s: float
    """Longest pause in a request body."""
    max_duration_s: float
    """Duration of a clip, or of the clip that features were made from."""
    max_frames: int
    max_pixels: int
    """Pixels in a frame."""
    max_clip_pixels: int
    """Pixels in all frames of a clip together."""
    max_fps: float
    max_segments: int
    decode_cpu_s: float
    """CPU time to decode a clip."""
    decode_wall_s: float
    decode_memory_mb: int
    max_top_k: int
    """Entries in a ranked list."""
    max_names: int
    """Tasks or perspectives in one request."""
    job_max_upload_bytes: int
    """Size of a request body that becomes a job."""
    job_upload_timeout_s: float
    job_max_duration_s: float
    """Duration of a job's video."""
    job_max_segments: int
    job_timeout_s: float
    """Duration of one attempt at a job."""
    job_ttl_s: float
    """How long a job's result is kept."""
    max_jobs: int
    """Jobs queued, running or being received."""
    max_job_uploads: int
    """Bodies of jobs that are received at the same time."""
    max_requests: int
    """Concurrent requests."""
    max_caller_share: float
    """Part of all places, streams and disk space that one caller may take."""
    max_event_streams: int
    """Concurrent streams of job events."""
    live_sessions: int
    """Concurrent live streams."""
    live_max_s: float
    """Duration of a live stream."""
    teaching_clips: int
    """Clips that a caller may keep for teaching."""
    teaching_storage_bytes: int
    """Size of these clips together."""
    teaching_labels: int
    """Labels in one request."""
    teaching_skills: int
    """Skills of a caller."""
    teaching_versions: int
    """Versions of a skill."""
    max_queued_windows: int
    """Windows of all concurrent requests."""
    max_spool_bytes: int
    """Size of all clips on disk together."""
    timeout_s: float
    """Default deadline of a request, and the longest it may set."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Returns the limits that the settings and the API set."""
        return cls(
            max_choices_bytes=MAX_OPTIONS_BYTES,
            max_inference_json_bytes=MAX_INFERENCE_JSON_BYTES,
            max_top_k=MAX_TOP_K,
            max_names=MAX_NAMES,
            **{
                name: getattr(settings, name)
                for name in cls.model_fields
                if hasattr(settings, name)
            },
        )


class Health(Body):
    """The response of a health probe."""

    status: Literal["alive", "ready"]
    checks: dict[str, str] | None = None
    """The checks behind the status; only with `verbose`."""


def identity(predictor: Predictor) -> ModelIdentity:
    """Returns the identity of the bundle being served."""
    return ModelIdentity(name=predictor.name, version=predictor.version, sha256=predictor.sha256)


def _numbers(found: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """The numeric metrics: a bundle may carry notes beside them."""
    return {
        split: {
            task: {name: float(n) for name, n in values.items() if isinstance(n, int | float)}
            for task, values in tasks.items()
            if isinstance(values, Mapping)
        }
        for split, tasks in found.items()
        if isinstance(tasks, Mapping)
    }
