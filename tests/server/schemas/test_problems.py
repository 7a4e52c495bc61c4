import pytest

from extract.errors import DecodeStalled, DecodeTimeout, VideoRejected
from model.errors import SegmentInvalid, UnknownTask
from server import errors
from server import problem_types as kinds
from server.errors import TABLE, FieldInvalid, QueueFull, RateLimited
from server.schemas.problems import problem_from


@pytest.mark.parametrize(
    ("code", "status", "slug"),
    [
        ("not-a-video", 415, "unsupported-media"),
        ("unsupported-container", 415, "unsupported-media"),
        ("unsupported-codec", 422, "codec-not-allowed"),
        ("no-video-track", 422, "no-video-stream"),
        ("too-many-pixels", 422, "too-many-pixels"),
        ("too-long", 422, "too-long-for-sync"),
        ("too-many-frames", 422, "too-long-for-sync"),
        ("too-large", 422, "too-large-for-sync"),
        ("frame-rate-too-high", 422, "frame-rate-too-high"),
        ("damaged", 422, "undecodable-video"),
        ("too-short", 422, "too-short"),
        ("reader-refused", 422, "undecodable-video"),
        ("too-slow", 422, "undecodable-video"),
        ("too-slow-for-job", 422, "undecodable-video"),
    ],
)
def test_a_rejected_video_is_refused_by_its_code(code, status, slug):
    problem = problem_from(VideoRejected(code, "a plain sentence"))
    assert (problem.kind.status, problem.kind.slug) == (status, slug)
    assert problem.detail.startswith("a plain sentence")
    # A job would take it: that is said, and of no other refusal.
    is_only_for_sync = slug.endswith("-for-sync") or code == "too-slow"
    assert ("as a job (Prefer: respond-async)" in problem.detail) is is_only_for_sync
    assert is_only_for_sync or problem.detail == "a plain sentence"


def test_a_clip_that_takes_too_much_cpu_may_be_sent_as_a_job():
    slow = problem_from(VideoRejected("too-slow", "x"), {"job_max_duration_s": 7200.0})
    assert slow.detail.endswith("as a job (Prefer: respond-async), which may last 7200 s")
    assert not slow.kind.is_retryable


@pytest.mark.parametrize("error", [DecodeTimeout, DecodeStalled])
def test_a_wall_clock_blames_no_video(error):
    problem = problem_from(error("/secret"), {"job_max_duration_s": 7200.0})
    assert (problem.kind.status, problem.kind.slug) == (503, "decoder-unavailable")
    assert problem.kind.is_retryable
    assert "secret" not in problem.detail
    assert "job" not in problem.detail


def test_an_unforeseen_error_is_our_fault_and_says_nothing():
    problem = problem_from(RuntimeError("/secret/path"))
    assert problem.kind is kinds.INTERNAL
    assert "secret" not in problem.detail


@pytest.mark.parametrize("cls", [c for c, kind in TABLE.items() if kind.status == 500])
def test_errors_that_are_our_fault_say_nothing(cls):
    error = cls.__new__(cls)
    Exception.__init__(error, "/secret/path")
    assert "secret" not in problem_from(error).detail


def test_field_errors_point_at_the_field():
    assert problem_from(FieldInvalid(("/a", "x"), ("/b/0", "y"))).errors == (
        ("/a", "x"),
        ("/b/0", "y"),
    )
    assert problem_from(SegmentInvalid(2, "late")).errors == (("/segments/2", "late"),)
    unknown = problem_from(UnknownTask("dance", ("ar", "lta")))
    assert unknown.errors[0][0] == "/tasks"
    assert "ar, lta" in unknown.detail


def test_a_refusal_carries_the_limits_that_explain_it():
    limits = {"max_upload_bytes": 5, "max_pixels": 7}
    assert problem_from(errors.BodyTooLarge("big"), limits).limits == {"max_upload_bytes": 5}


def test_a_full_queue_says_when_to_come_back():
    assert problem_from(QueueFull(17)).retry_after_s == 17


def test_retryable_statuses_always_say_when():
    for cls, kind in TABLE.items():
        if kind.status in (429, 503):
            error = cls(1) if cls in (QueueFull, RateLimited) else cls("x")
            assert problem_from(error).retry_after_s >= 1
            assert kind.is_retryable
