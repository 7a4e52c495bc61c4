"""What the API reference promises, tried on every operation with what it allows and forbids."""

import copy
import json
import re
from collections import Counter
from unittest import mock

import pytest
import schemathesis
import torch
from hypothesis import settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig

from clients.client import EgoPackClient
from extract.features.extractor import track_from
from extract.features.track_file import track_bytes
from server.api.app import create_app
from server.errors import LabelsInvalid
from tests.server.support.fakes import FakeEncoder, clip, make_engine, make_settings
from tests.server.support.loopback import listening

SETTINGS = make_settings(max_upload_mb=1)
SAFETENSORS = "application/x-safetensors"
CLIPS = ("/v1/predictions", "/v1/features", "/v1/backpack/search", "/infer")
OF_TEACHING = ("/v1/clips", "/v1/skills")


def features():
    matrix = torch.full((14, 4), 51.0)
    return track_bytes(
        track_from(matrix, 240, FakeEncoder(), "clip")  # type: ignore[arg-type]
    )


INFERENCE = {
    "inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}],
    "outputs": [{"name": "ar.verb"}],
}
NAMES = {
    "name": ["fake"],
    "version": ["1"],
    "tasks": ["ar", "lta", "oscc", "pnr"],
    "perspectives": ["oscc", "pnr"],
    "backbone": ["shared"],
    "segments": ["0,1", "0.5,4"],
}
"""What exists, where the reference can only say that it is a string."""


def document():
    """The reference, told what only this server knows: names, clips, and how long they are.

    Choices go with a clip in its form or in the query, never in both: a search takes them in the
    form, the others in the query.
    """
    made = copy.deepcopy(create_app(SETTINGS, make_engine(SETTINGS)).openapi())
    for path in (*CLIPS[:3], OF_TEACHING[0]):
        operation = made["paths"][path]["post"]
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
        if "search" in path:
            operation["parameters"] = []
        else:
            form.pop("request")
        for name in form.keys() - {"request"}:
            form[name]["format"] = f"test-{name}"
    for item in made["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if operation["operationId"] != "keep_clip":  # a name is new there
                    _name(parameter["name"], parameter["schema"])
    for shape in ("SearchOptions", "ActionOptions"):
        for name, values in made["components"]["schemas"][shape]["properties"].items():
            if name != "segments":
                _name(name, values)
    made["components"]["schemas"]["InferRequest"]["examples"] = [INFERENCE]
    for path, item in made["paths"].items():
        if path.endswith("/infer"):  # what comes after the JSON has tests of its own
            item["post"]["parameters"].pop()
            item["post"]["requestBody"]["content"].pop("application/octet-stream")
    return made


def _name(name, values):
    """Makes the reference list what exists, wherever it takes a name; waits half a second."""
    for choice in (values, *values.get("anyOf", ())):
        if name in NAMES and choice.get("type") == "string":
            choice["enum"] = NAMES[name]
        if name in NAMES and choice.get("type") == "array":
            choice["items"]["enum"] = NAMES[name]
        if name == "timeout_s" and choice.get("type") == "number":
            choice |= {"minimum": 0.5, "maximum": 60}


for kind, body in (("video", clip(240)), ("features", features())):
    schemathesis.openapi.format(f"test-{kind}", st.just(body.decode("latin-1")))
schemathesis.openapi.media_type("video/*", st.just(clip(240)))
schemathesis.openapi.media_type("application/octet-stream", st.just(clip(240)))
schemathesis.openapi.media_type(SAFETENSORS, st.just(features()))

CONFIG = {
    # A deadline of a nanosecond may be asked for, and passes.
    "checks": {"not_a_server_error": {"expected-statuses": ["2xx", "4xx", 504]}},
    "operations": [
        {
            # Which tasks there are and how long the clip is, no schema can say.
            "include-path-regex": "|".join(CLIPS + OF_TEACHING),
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ["2xx", 422, 404, 504]},
                "not_a_server_error": {"expected-statuses": ["2xx", "4xx", 504]},
            },
        }
    ],
}
NONE_KEPT = {"POST /v1/skills": {422}}
"""What is right where no clip is kept that labels could be of."""

ANSWERED: Counter[tuple[str, int]] = Counter()
schema = schemathesis.openapi.from_dict(document(), config=SchemathesisConfig.from_dict(CONFIG))


async def learn(request, folder, **_):
    """Stands in for the process that learns, which no made-up model has."""
    if request["action"] != "suggest":
        raise LabelsInvalid(("/labels", "nothing is learnt here"))
    (folder / "suggestions.json").write_text(json.dumps({"segments": []}))
    return folder


@pytest.fixture(scope="module")
def base_url():
    app = create_app(SETTINGS, make_engine(SETTINGS))
    with mock.patch("server.teaching.teach_runner.learn", learn), listening(app) as address:
        with EgoPackClient(f"http://{address}") as client:
            client.wait_ready()
        yield f"http://{address}"


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=10, derandomize=True, deadline=None, database=None)
def test_every_operation_keeps_its_promises(case, base_url):
    response = case.call_and_validate(base_url=base_url)
    ANSWERED[case.operation.label, response.status_code] += 1


@pytest.mark.slow  # as the test whose answers these are
def test_what_is_allowed_was_answered_and_what_is_forbidden_refused():
    """Else the promises above would have been kept by refusing everything."""
    paths = Counter(one.ok().path for one in schema.get_all_operations())
    for operation in schema.get_all_operations():
        label = operation.ok().label
        statuses = {status for name, status in ANSWERED if name == label}
        # Of jobs, kept clips and skills there are none that could be named here.
        is_named = re.search("{(job_id|clip_id|name}/?)", label) and "models" not in label
        expected = {201} if label == "POST /v1/clips" else {200, 404} if is_named else {200}
        assert statuses & (expected | NONE_KEPT.get(label, set())), (label, statuses)
        if paths[label.split()[1]] == 1:  # of others, methods are not all tried
            assert 405 in statuses, label
    assert {label for label, status in ANSWERED if status == 422} >= {
        f"POST {path}" for path in CLIPS[:3]
    }
