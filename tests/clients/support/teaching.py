"""A server that keeps clips and teaches, as a function of requests."""

import json
import re

import httpx

CLIP = {
    "id": "c_0123456789abcdef", "name": "a", "duration_s": 12.5, "start_s": 0.0,
    "has_video": False, "created_at": "2026-03-01T09:30:00.000Z",
}  # fmt: skip
JOB = {
    "id": "j1", "state": "running", "attempt": 1, "request": {},
    "input": {"kind": "labels", "size_bytes": 4, "sha256": "0"},
    "created_at": "2026-03-01T09:30:00.000Z",
}  # fmt: skip
POINT = {"accuracy": 0.92, "low": 0.7, "high": 0.98}
REPORT = {
    "name": "hand", "version": 3, "kind": "segment", "labels": ["left", "right"],
    "count": {"left": 10, "right": 10}, "method": "auto", "seed": 0, "bundle_sha256": "0" * 64,
    "accuracy": {
        "right": 18, "held_out": 20, "share": 0.9, "low": 0.699, "high": 0.972,
        "frequent": 0.5, "head_right": 17,
    },
    "held_out_by": "cross-validation", "words": "Cross-validated: 18 of 20.",
    "confusion": {"labels": ["left", "right"], "counts": [[9, 1], [1, 9]]},
    "voters": [{"name": "own", "weight": 0.7, "about": "logistic head"}],
    "curve": [{"labels": 8, **POINT}], "forecast": {"labels": 30, **POINT},
    "thresholds": [
        {"threshold": 0.0, "answered": 1.0, "precision": 0.9, "recall": 0.9},
        {"threshold": 1.0, "answered": 0.0, "precision": None, "recall": 0.0},
    ],
    "none": {"label": "right", "right": 9, "held_out": 10, "mistaken": 1, "others": 10},
    "notes": ["A note."],
}  # fmt: skip
VERSION = {"created_at": "2026-03-01T09:30:00.000Z", "labels": 20, "status": "usable"}
SKILL = {
    "name": "hand", "owner_is_you": True, "kind": "segment", "labels": ["left", "right"],
    "active_version": 2,
    "versions": [
        {"version": 1, **VERSION, "accuracy": None}, {"version": 2, **VERSION, "accuracy": 0.9},
    ],
}  # fmt: skip
COMPARISON = {
    "labels": 4, "accuracy": {"1": 0.5, "2": 0.75}, "both_right": 2, "only_1_right": 0,
    "only_2_right": 1, "difference": 0.25, "low": 0.0, "high": 0.75, "learnt": {"1": 0, "2": 0},
}  # fmt: skip


class TeachingServer:
    """Keeps clips, and answers every job with the same report.

    Args:
        kept: names of clips that it has already.
        breaks_at: name of a clip at which the connection breaks.
        drops: how many requests to teach it drops first.
        refuses: errors of the labels.
    """

    def __init__(self, *, kept=(), breaks_at=None, drops=0, refuses=None):
        self.kept, self.breaks_at, self.drops, self.refuses = list(kept), breaks_at, drops, refuses
        self.sent, self.uploads, self.taught, self.keys, self.queries = {}, [], [], [], []

    def __call__(self, request):
        match request.method, request.url.path:
            case "GET", "/v1/clips":
                clips = [{**CLIP, "name": name} for name in self.kept]
                return httpx.Response(200, json={"clips": clips, "limit": 200})
            case "POST", "/v1/clips":
                return self._keep(request)
            case "POST", "/v1/skills":
                return self._teach(request)
            case "GET", "/v1/jobs/j1":
                state = "running" if self.running else "succeeded"
                return httpx.Response(200, json={**JOB, "state": state})
            case "GET", "/v1/jobs/j1/events":
                self.running = False
                return httpx.Response(200, text=_events("learning", "activating"))
            case "GET", "/v1/jobs/j1/result":
                return httpx.Response(200, json=REPORT)
        raise AssertionError(request)

    def _keep(self, request):
        self.queries.append(dict(request.url.params))
        name, data = request.url.params["name"], request.read()
        self.uploads.append(name)
        if name == self.breaks_at:
            raise httpx.ReadError("broke")
        self.sent[name] = re.search(rb"octet-stream\r\n\r\n(.*?)\r\n", data).group(1)
        self.kept.append(name)
        return httpx.Response(201, json={**CLIP, "name": name})

    def _teach(self, request):
        self.keys.append(request.headers["idempotency-key"])
        if self.drops:
            self.drops -= 1
            raise httpx.ReadError("broke")
        if self.refuses is not None:
            problem = {"code": "labels-invalid", "detail": "wrong", "errors": self.refuses}
            return httpx.Response(422, json=problem)
        self.taught.append(json.loads(request.read()))
        self.running = True
        return httpx.Response(202, json=JOB)


def _events(*stages):
    made = [("progress", {"stage": stage}) for stage in stages] + [("completed", {})]
    return "".join(
        f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
        for number, (name, data) in enumerate(made, 1)
    )
