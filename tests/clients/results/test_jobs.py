import dataclasses
from typing import get_args

import pytest

from clients.results import jobs as results
from server.schemas import jobs as schemas
from server.schemas.prediction import ProblemBody


def names(cls):
    return {field.name for field in dataclasses.fields(cls)}


@pytest.mark.parametrize(
    ("ours", "theirs", "left_out"),
    [
        (results.Job, schemas.Job, {"links"}),
        (results.JobInput, schemas.JobInput, set()),
        (results.JobPage, schemas.JobPage, set()),
        (results.Progress, schemas.JobProgress, set()),
        (results.Problem, ProblemBody, {"errors", "instance", "type"}),
    ],
)
def test_the_client_knows_every_field_of_a_job_but_where_it_builds_paths_itself(
    ours, theirs, left_out
):
    assert names(ours) == set(theirs.model_fields) - left_out


def test_every_state_of_a_job_is_live_or_an_end():
    values = {"id": "j", "attempt": 1, "request": {}, "created_at": "2026-03-01T09:30:00.000Z",
              "input": {"kind": "video", "size_bytes": 4, "sha256": "0"}}  # fmt: skip
    live = {
        state
        for state in get_args(schemas.JobState)
        if results.Job.from_dict(values | {"state": state}).is_live
    }
    assert live == results.LIVE == {"queued", "running"}
    assert {name for name in results.ENDS if results.JobEvent(1, name).is_last} == results.ENDS
    assert not results.JobEvent(1, "progress").is_last
