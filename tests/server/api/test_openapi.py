import re

import pytest

from server import problem_types as kinds
from server.api.app import create_app
from server.errors import TABLE
from server.problem_types import ProblemType
from tests.server.support.fakes import make_engine, make_settings

ENDPOINTS = {
    "create_prediction": ("post", "/v1/predictions"),
    "create_features": ("post", "/v1/features"),
    "search_backpack": ("post", "/v1/backpack/search"),
    "list_models": ("get", "/v1/models"),
    "get_model": ("get", "/v1/models/{name}"),
    "get_taxonomy": ("get", "/v1/taxonomy"),
    "oip_server_metadata": ("get", "/v2"),
    "oip_server_live": ("get", "/v2/health/live"),
    "oip_server_ready": ("get", "/v2/health/ready"),
    "oip_model_metadata": ("get", "/v2/models/{name}"),
    "oip_model_version_metadata": ("get", "/v2/models/{name}/versions/{version}"),
    "oip_model_ready": ("get", "/v2/models/{name}/ready"),
    "oip_model_version_ready": ("get", "/v2/models/{name}/versions/{version}/ready"),
    "oip_infer": ("post", "/v2/models/{name}/infer"),
    "oip_version_infer": ("post", "/v2/models/{name}/versions/{version}/infer"),
    "list_jobs": ("get", "/v1/jobs"),
    "get_job": ("get", "/v1/jobs/{job_id}"),
    "get_job_events": ("get", "/v1/jobs/{job_id}/events"),
    "get_job_result": ("get", "/v1/jobs/{job_id}/result"),
    "cancel_job": ("post", "/v1/jobs/{job_id}/cancel"),
    "keep_clip": ("post", "/v1/clips"),
    "list_clips": ("get", "/v1/clips"),
    "get_clip": ("get", "/v1/clips/{clip_id}"),
    "get_clip_video": ("get", "/v1/clips/{clip_id}/video"),
    "delete_clip": ("delete", "/v1/clips/{clip_id}"),
    "teach_skill": ("post", "/v1/skills"),
    "list_skills": ("get", "/v1/skills"),
    "get_skill": ("get", "/v1/skills/{name}"),
    "get_skill_report": ("get", "/v1/skills/{name}/versions/{version}"),
    "activate_skill": ("post", "/v1/skills/{name}/activate"),
    "deactivate_skill": ("post", "/v1/skills/{name}/deactivate"),
    "roll_back_skill": ("post", "/v1/skills/{name}/rollback"),
    "compare_versions": ("post", "/v1/skills/{name}/compare"),
    "suggest_labels": ("post", "/v1/skills/suggest"),
    "delete_skill": ("delete", "/v1/skills/{name}"),
    "delete_skill_version": ("delete", "/v1/skills/{name}/versions/{version}"),
    "get_limits": ("get", "/v1/limits"),
    "get_liveness": ("get", "/livez"),
    "get_readiness": ("get", "/readyz"),
    "get_metrics": ("get", "/metrics"),
}
OF_TEACHING = {
    "teaching-off",
    "clip-exists",
    "teaching-quota",
    "labels-invalid",
    "skill-owned",
    "skill-active",
    "skill-unusable",
}
"""Problems of its endpoints alone."""


@pytest.fixture(scope="module")
def document():
    settings = make_settings()
    return create_app(settings, make_engine(settings)).openapi()


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def test_every_endpoint_has_its_own_name(document):
    found = {op["operationId"]: (method, path) for method, path, op in operations(document)}
    assert found == ENDPOINTS
    assert document["openapi"].startswith("3.1")


def test_every_reference_leads_somewhere(document):
    schemas = document["components"]["schemas"]
    references = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert references <= set(schemas)
    assert not {"HTTPValidationError", "ValidationError"} & set(schemas)


def test_every_error_is_a_problem_with_an_example_a_slug(document):
    for _, path, operation in operations(document):
        refusals = {s: r for s, r in operation["responses"].items() if int(s) >= 400}
        assert refusals, path
        speaks_oip = path.startswith("/v2")
        media_type = "application/json" if speaks_oip else "application/problem+json"
        shape = "Failure" if speaks_oip else "ProblemBody"
        for status, response in refusals.items():
            assert list(response["content"]) == [media_type], (path, status)
            content = response["content"][media_type]
            assert content["schema"] == {"$ref": f"#/components/schemas/{shape}"}
            for slug, example in content["examples"].items():
                assert slug in response["description"]
                if speaks_oip:
                    assert list(example["value"]) == ["error"]
                else:
                    assert example["value"]["code"] == slug
                    assert example["value"]["status"] == int(status)


def test_every_operation_has_an_example_that_keeps_its_schema(document):
    import jsonschema_rs

    resolved = {"components": document["components"]}
    for _, path, operation in operations(document):
        assert operation["summary"]
        assert operation["description"]
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                if not media_type.endswith("json"):
                    continue
                examples = [e["value"] for e in content.get("examples", {}).values()]
                examples += [content["example"]] if "example" in content else []
                assert examples, (path, status)
                validator = jsonschema_rs.Draft202012Validator({**content["schema"], **resolved})
                for example in examples:
                    validator.validate(example)
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is not None:
            validator = jsonschema_rs.Draft202012Validator({**body["schema"], **resolved})
            shape = document["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
            for example in shape["examples"]:
                validator.validate(example)


def test_the_reference_is_openapi_3_1(document):
    """Every schema in it is JSON Schema 2020-12, as 3.1 wants."""
    import jsonschema_rs

    for name, values in document["components"]["schemas"].items():
        jsonschema_rs.meta.validate({**values, "components": document["components"]})
        assert "nullable" not in values, name
    assert {"openapi", "info", "paths", "components"} <= set(document)
    tags = {tag for _, _, operation in operations(document) for tag in operation["tags"]}
    assert tags == {"predictions", "model", "inference protocol", "jobs", "teaching", "server"}


def test_predictions_list_every_problem_they_can_answer(document):
    listed = {
        slug
        for response in document["paths"]["/v1/predictions"]["post"]["responses"].values()
        for slug in response["content"].get("application/problem+json", {}).get("examples", {})
    }
    slugs = {value.slug for value in vars(kinds).values() if isinstance(value, ProblemType)}
    assert slugs >= {kind.slug for kind in TABLE.values()}
    assert listed == slugs - {
        "not-found",
        "method-not-allowed",
        "caller-gone",
        "job-not-finished",
        "result-expired",
        *OF_TEACHING,
    }


def test_the_ways_to_send_a_clip_are_described(document):
    operation = document["paths"]["/v1/predictions"]["post"]
    content = operation["requestBody"]["content"]
    assert set(content) == {
        "multipart/form-data",
        "video/*",
        "application/octet-stream",
        "application/x-safetensors",
    }
    form = content["multipart/form-data"]["schema"]
    assert form["properties"]["request"] == {"$ref": "#/components/schemas/PredictOptions"}
    options = document["components"]["schemas"]["PredictOptions"]
    assert options["additionalProperties"] is False
    fields = {
        "tasks",
        "top_k",
        "segments",
        "segment_s",
        "seed",
        "return",
        "timeout_s",
        "video_track",
    }
    fields |= {"webhook_url"}
    assert set(options["properties"]) == fields
    headers = {"Prefer", "Idempotency-Key"}
    assert {p["name"] for p in operation["parameters"]} == fields | headers
    assert all("description" in p for p in operation["parameters"])


def test_the_example_answer_keeps_the_schema(document):
    from server.schemas.prediction import Prediction

    content = document["paths"]["/v1/predictions"]["post"]["responses"]["200"]["content"]
    example = content["application/json"]["example"]
    assert Prediction.model_validate(example).model_dump(exclude_none=True) == example
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/Prediction"}


def test_a_key_is_asked_for_only_where_one_is_set(document):
    assert "security" not in document
    settings = make_settings(api_key="k")
    secured = create_app(settings, make_engine(settings)).openapi()
    assert secured["security"] == [{"key": []}]
    assert secured["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_the_docs_page_is_served_and_asks_no_other_host(served):
    page = served.http.get("/docs").text
    assert "openapi.json" in page
    assert "//" not in re.sub(r"^ *//.*$|<!--.*?-->", "", page, flags=re.M)
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(parts) == 3
    assert [served.http.get(part).status_code for part in parts] == [200, 200, 200]
    assert served.http.get("/openapi.json").json()["info"]["title"] == "EgoPack Server"
