import pytest

from server.jobs.records import Delivery, Event, Job


@pytest.mark.parametrize(
    ("state", "is_live"),
    [("queued", True), ("running", True), ("succeeded", False), ("canceled", False)],
)
def test_a_job_is_live_until_it_ends(state, is_live):
    assert Job("id", "me", {}, "video", 1, "hash", state=state).is_live == is_live


def test_every_event_but_progress_is_the_last():
    last = [name for name in ("progress", "completed", "error", "canceled")
            if Event(1, name, {}).is_last]  # fmt: skip
    assert last == ["completed", "error", "canceled"]


def test_every_attempt_of_a_delivery_has_the_same_message_id():
    ids = {Delivery("job", "url", attempt, attempt, 0.0).message_id for attempt in (1, 2)}
    assert len(ids) == 1
