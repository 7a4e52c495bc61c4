"""Example responses for the API reference."""

from typing import Any

from server.schemas.metadata import Limits
from server.settings.settings import Settings

JOB: dict[str, Any] = {
    "id": "5b0c2c9f0d5c4f7e9a51b1f1a2f7a6f0",
    "state": "running",
    "attempt": 1,
    "input": {"kind": "video", "size_bytes": 734003200, "sha256": "9f2d…"},
    "request": {"tasks": ["ar", "lta"]},
    "progress": {"stage": "features", "windows_done": 1200, "windows_total": 6749},
    "created_at": "2026-03-01T09:30:00.000Z",
    "started_at": "2026-03-01T09:30:00.250Z",
    "links": {
        "self": "/v1/jobs/5b0c2c9f0d5c4f7e9a51b1f1a2f7a6f0",
        "events": "/v1/jobs/5b0c2c9f0d5c4f7e9a51b1f1a2f7a6f0/events",
        "result": "/v1/jobs/5b0c2c9f0d5c4f7e9a51b1f1a2f7a6f0/result",
        "cancel": "/v1/jobs/5b0c2c9f0d5c4f7e9a51b1f1a2f7a6f0/cancel",
    },
}

JOB_EVENTS = """event: progress
data: {"stage": "features", "windows_done": 1200, "windows_total": 6749}
id: 9

event: completed
data: {"state": "succeeded"}
id: 10

"""

_VERB = [{"id": 3, "label": "cut", "probability": 0.81}]
_NOUN = [{"id": 7, "label": "carrot", "probability": 0.77}]
_EXAMPLE = {
    "video": "kitchen-03", "start_s": 12.0, "end_s": 20.0, "label": "both", "similarity": 0.93
}  # fmt: skip
_NEAR = {"verb": "cut", "noun": "carrot", "similarity": 0.93, "count": 41}

PREDICTION: dict[str, Any] = {
    "id": "5b0c2c9f0d5c4f7e9a51b1f1a2f7a6f0",
    "model": {"name": "tabletop", "version": "1", "sha256": "9f2d…"},
    "input": {
        "start_s": 0.0,
        "duration_s": 8.0,
        "fps": 30.0,
        "width": 960,
        "height": 540,
        "rotation": 0,
        "mirrored": False,
        "video_track": 0,
        "video_tracks": 1,
        "container": "mp4",
        "codec": "h264",
        "frames_declared": 240,
        "frames_decoded": 120,
        "reader": "decord",
    },
    "features": {"encoder": "tabletop", "fps": 30.0, "window": 32, "stride": 16, "count": 14},
    "segments": [
        {
            "start_s": 0.0,
            "end_s": 8.0,
            "ar": {"verb": _VERB, "noun": _NOUN},
            "oscc": {"state_change": True, "probability": 0.93},
            "pnr": {"time_s": 3.5, "frame": 105, "probability": 0.41, "scores": [0.01, 0.41]},
            "skills": {"hand": {"labels": [{"id": 2, "label": "both", "probability": 0.88}]}},
            "evidence": {
                "neighbours": {"ar": {"oscc": [_NEAR]}},
                "votes": {"ar.verb": {"own": "cut", "oscc": "cut", "pnr": "slice", "lta": "cut"}},
                "examples": {"hand": [_EXAMPLE]},
            },
        }
    ],
    "lta": {
        "observed": [0],
        "steps": [{"verb": _VERB, "noun": _NOUN}],
        "hypotheses": [[{"verb": "put", "noun": "knife"}]],
        "evidence": {"neighbours": {"lta": {"ar": [_NEAR]}}, "votes": {"lta.verb": {"own": "put"}}},
    },
    "skills": {
        "next-room": {
            "observed": [0],
            "steps": [[{"id": 1, "label": "kitchen", "probability": 0.64}]],
            "evidence": {"neighbours": {}, "votes": {"next-room.next-room": {"own": "kitchen"}}},
        }
    },
    "timings": {
        "queue_ms": 1.2,
        "decode_ms": 90.0,
        "features_ms": 210.0,
        "reason_ms": 8.0,
        "total_ms": 310.0,
    },
    "warnings": [{"code": "resampled-from-25fps", "detail": "The clip was resampled to 30 fps."}],
}
"""With shortened lists: a response has `top_k` labels, 16 scores, 20 steps and 5 hypotheses.

`hand` and `next-room` stand for a user's own skills; the shipped bundle has none.
"""

MATCHES: dict[str, Any] = {
    "model": PREDICTION["model"],
    "backbone": "shared",
    "matches": [{"start_s": 0.0, "end_s": 8.0, "perspectives": {"oscc": [_NEAR], "pnr": [_NEAR]}}],
    "timings": PREDICTION["timings"],
}

EVENTS = """event: progress
data: {"stage":"received","windows_done":0,"windows_total":0}

event: progress
data: {"stage":"features","windows_done":14,"windows_total":14}

event: completed
data: {"id":"5b0c2c9f0d5c4f7e9a51b1f1a2f7a6f0", ...}

"""

INFERENCE: dict[str, Any] = {
    "model_name": "tabletop",
    "model_version": "1",
    "outputs": [
        {"name": "oscc.state_change", "datatype": "FP32", "shape": [1], "data": [0.93]},
    ],
}

MODEL_FACTS: dict[str, Any] = {
    **PREDICTION["model"],
    "tasks": ["ar", "lta", "oscc", "pnr"],
    "encoder": {
        "name": "tabletop",
        "kind": "swin",
        "fingerprint": "51c0…",
        "dim": 192,
        "contract": {"fps": 30, "window_frames": 32, "stride_frames": 16},
    },
    "skills": {
        "ar": {
            "backbone": "shared",
            "perspectives": ["lta", "oscc", "pnr"],
            "outputs": ["verb", "noun"],
        }
    },
    "label_counts": {"verb": 20, "noun": 21},
    "metrics": {"test": {"ar": {"verb_top1": 0.71}}},
    "licence": "Apache-2.0",
    "backbone_passes": 12,
}
TAXONOMY: dict[str, Any] = {
    "model": PREDICTION["model"],
    "label_spaces": {"verb": ["cut", "put"], "noun": ["carrot", "knife"]},
}
LIMITS = Limits.of(Settings.model_construct()).model_dump()
"""The limits at default settings."""

OIP_SERVER: dict[str, Any] = {
    "name": "egopack",
    "version": "0.1.0",
    "extensions": ["binary_tensor_data"],
}
OIP_MODEL: dict[str, Any] = {
    "name": "tabletop",
    "versions": ["1"],
    "platform": "egopack",
    "inputs": [{"name": "video", "datatype": "BYTES", "shape": [1]}],
    "outputs": [{"name": "ar.verb", "datatype": "FP32", "shape": [-1, 20]}],
}
OIP_MODEL_READY: dict[str, Any] = {"name": "tabletop", "ready": True}

KEPT_CLIP: dict[str, Any] = {
    "id": "c_5b0c2c9f0d5c4f7e",
    "name": "kitchen-03",
    "duration_s": 12.5,
    "start_s": 0.0,
    "has_video": False,
    "created_at": "2026-03-01T09:30:00.000Z",
}

TEACHING_JOB: dict[str, Any] = {
    **JOB,
    "input": {"kind": "labels", "size_bytes": 1834, "sha256": "9f2d…"},
    "request": {
        "task": {"name": "hand", "kind": "segment"},
        "method": "auto",
        "seed": 0,
        "activate": True,
    },
    "progress": {"stage": "learning", "windows_done": 0, "windows_total": 0},
}

SKILL: dict[str, Any] = {
    "name": "hand",
    "owner_is_you": True,
    "kind": "segment",
    "labels": ["left", "right"],
    "active_version": 2,
    "versions": [
        {
            "version": 2,
            "created_at": "2026-03-01T09:31:12.000Z",
            "labels": 20,
            "accuracy": 0.9,
            "low": 0.699,
            "high": 0.972,
            "frequent": 0.5,
            "status": "usable",
            "threshold": 0.6,
        }
    ],
}

REPORT: dict[str, Any] = {
    "name": "hand",
    "version": 2,
    "kind": "segment",
    "labels": ["left", "right"],
    "count": {"left": 10, "right": 10},
    "method": "auto",
    "seed": 0,
    "bundle_sha256": "9f2d…",
    "accuracy": {
        "right": 18,
        "held_out": 20,
        "share": 0.9,
        "low": 0.699,
        "high": 0.972,
        "frequent": 0.5,
        "head_right": 18,
    },
    "held_out_by": "cross-validation",
    "words": "Cross-validated: 18 of 20 held-out labels are predicted, 0.900 [0.699, 0.972], ...",
    "confusion": {"labels": ["left", "right"], "counts": [[9, 1], [1, 9]]},
    "voters": [{"name": "own", "weight": 0.7, "about": "..."}],
    "curve": [{"labels": 10, "accuracy": 0.8, "low": 0.55, "high": 0.93}],
    "forecast": {"labels": 30, "accuracy": 0.93, "low": 0.8, "high": 0.98},
    "thresholds": [{"threshold": 0.6, "answered": 0.85, "precision": 0.94, "recall": 0.8}],
    "threshold": 0.6,
    "none": None,
    "notes": [],
}

COMPARISON: dict[str, Any] = {
    "labels": 40,
    "accuracy": {"1": 0.8, "2": 0.9},
    "both_right": 31,
    "only_1_right": 1,
    "only_2_right": 5,
    "difference": 0.1,
    "low": 0.0,
    "high": 0.225,
    "learnt": {"1": 0, "2": 10},
}

SUGGESTIONS: dict[str, Any] = {
    "segments": [
        {
            "video": "kitchen-03",
            "start_s": 8.0,
            "end_s": 10.0,
            "votes": {"left": 0.52, "right": 0.48},
            "disagreement": 0.31,
            "distance": 0.44,
            "why": "voters disagree",
        }
    ]
}
