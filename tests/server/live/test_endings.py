import pytest

from extract.errors import DecoderDied, DecoderUnavailable, VideoRejected
from model.errors import FeatureMismatch, UnknownTask
from server.errors import DeadlineExceeded, Draining, FieldInvalid, MalformedRequest, QueueFull
from server.live.endings import ending_of
from server.live.outbox import OutboxFull


@pytest.mark.parametrize(
    ("error", "close", "code"),
    [
        (MalformedRequest("no JSON"), 1007, "malformed-request"),
        (FieldInvalid(("/rate", "too high")), 1008, "invalid-field"),
        (UnknownTask("x", ("ar",)), 1008, "invalid-field"),
        (FeatureMismatch("another encoder"), 1008, "unusable-features"),
        (OutboxFull(), 1008, "slow-reader"),
        (Draining("stopping"), 1001, "draining"),
        (QueueFull(30), 1013, "queue-full"),
        (DecoderUnavailable("none"), 1013, "decoder-unavailable"),
        (DeadlineExceeded("late"), 1013, "deadline-exceeded"),
        (VideoRejected("frame-rate-too-high", "too fast"), 4400, "frame-rate-too-high"),
        (DecoderDied("signal 11 at /tmp/x"), 4400, "decoder-died"),
        (ValueError("secret"), 1011, "internal"),
    ],
)
def test_every_error_has_its_close_code_and_reason(error, close, code):
    ending = ending_of(error)
    assert (ending.close, ending.code) == (close, code)
    assert ending.detail
    assert "secret" not in ending.detail
    assert "/tmp" not in ending.detail
