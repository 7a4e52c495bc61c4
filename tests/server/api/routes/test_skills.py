"""Skills taught over HTTP, on the tiny bundle."""

import errno
import json
from dataclasses import replace

import pytest

from extract.features.track import EncoderId
from model.data.tables.label_rows import rows_from_json
from model.data.task_file import parse_task
from model.predict.predictor import Predictor
from model.train.new_skill.adding import add_skill
from model.train.new_skill.teaching import teach as teach_library
from server.engine.health import CANARY
from server.schemas import teaching as schemas
from server.schemas.prediction import Prediction
from server.teaching.files import TeachingFiles
from tests.server.conftest import assert_problem
from tests.server.teaching.teaching_app import TASK, keep, report, rows_of, teach, teaching_app
from tests.support.factories import make_bundle
from tests.support.own_tasks import write_features
from tests.support.waiting import wait_for
from weights.bundle import load_bundle, save_bundle

MARKUP = "<b onmouseover=alert(1)>&amp;</b>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skills")
    save_bundle(make_bundle(), folder / "bundle")
    return folder


@pytest.fixture(scope="module")
def store(folder):
    return write_features(folder / "features", Predictor.from_bundle(folder / "bundle").encoder)


@pytest.fixture(scope="module")
def rows(folder):
    return rows_of(folder)


@pytest.fixture(scope="module")
def serve(folder, store):
    """Starts a server that keeps three clips of each caller."""

    def start(callers=(None,), **values):
        http = teaching_app(folder / "bundle", **values)
        made = http.__enter__()
        opened.append(http)
        for headers in callers:
            for video in "abc":
                assert keep(made, store.read(video), **(headers or {})).status_code == 201
        return made

    opened: list = []
    yield start
    for http in reversed(opened):
        http.__exit__(None, None, None)


@pytest.fixture(scope="module")
def http(serve):
    return serve()


def answers(http, **query):
    """The answers to a clip, without what differs between any two."""
    headers = {"content-type": "video/mp4"}
    got = http.post("/v1/predictions", content=CANARY.read_bytes(), params=query, headers=headers)
    assert got.status_code == 200, got.text
    Prediction.model_validate_json(got.text, strict=True)
    found = got.json()
    for volatile in ("id", "timings", "model"):
        del found[volatile]
    return found


def four(found):
    """The answers of the four tasks alone."""
    text = json.dumps(found, sort_keys=True)
    kept = json.loads(text)
    for segment in kept["segments"]:
        segment.pop("skills", None)
        for part in ("neighbours", "votes", "examples"):
            values = segment["evidence"].get(part, {})
            segment["evidence"][part] = {
                name: value for name, value in values.items() if not name.startswith("hand")
            }
    return kept


def skill_of(http, name="hand"):
    found = http.get(f"/v1/skills/{name}")
    assert found.status_code == 200, found.text
    return schemas.TaughtSkill.model_validate_json(found.text, strict=True)


def served_sha256(http):
    return http.get("/v1/models").json()["models"][0]["sha256"]


def change(http, what, name="hand", headers=None, **choice):
    made = http.post(f"/v1/skills/{name}/{what}", json=choice or None, headers=headers)
    assert made.status_code == 200, made.text
    return schemas.TaughtSkill.model_validate_json(made.text, strict=True)


@pytest.mark.slow(3)
def test_a_skill_is_taught_served_replaced_and_rolled_back(http, folder, store, rows):
    before, base = answers(http), served_sha256(http)
    first = report(http, teach(http, rows, activate=True, threshold=0.5))
    schemas.Report.model_validate(first)
    assert (first["version"], first["bundle_sha256"], first["threshold"]) == (1, base, 0.5)
    assert http.get("/v1/skills/hand/versions/1").json() == first

    # The library learns the same, and its bundle is the same to the bit.
    bundle, tracks = load_bundle(folder / "bundle"), {v: store.read(v) for v in "abc"}
    taught = teach_library(Predictor(bundle), parse_task(TASK), rows_from_json(rows), tracks)
    for name, value in taught.report.items():
        assert first[name] == value, name

    with_one = answers(http)
    said = with_one["segments"][0]["skills"]["hand"]
    assert {label["label"] for label in said["labels"]} == {"calm, quiet", "wild"}
    assert said["is_certain"] is (said["labels"][0]["probability"] >= 0.5)
    assert four(with_one) == four(before)
    assert "hand" not in answers(http, tasks="ar")["segments"][0].get("skills", {})

    second = report(http, teach(http, rows[:20], seed=1))
    assert second["version"] == 2
    assert [v.version for v in skill_of(http).versions] == [1, 2]
    assert skill_of(http).active_version == 1
    assert answers(http) == with_one
    assert change(http, "activate", version=2).active_version == 2
    with_two = answers(http)
    assert "is_certain" not in with_two["segments"][0]["skills"]["hand"]
    assert with_two != with_one
    own = add_skill(bundle, teach_library(
        Predictor(bundle), parse_task(TASK), rows_from_json(rows[:20]), tracks, seed=1
    ).own)  # fmt: skip
    assert served_sha256(http) == save_bundle(own, folder / "by-hand").sha256

    assert change(http, "rollback").versions[0].threshold == 0.5
    assert answers(http) == with_one
    assert change(http, "deactivate").active_version is None
    assert (answers(http), served_sha256(http)) == (before, base)
    assert change(http, "rollback").active_version == 1
    assert answers(http) == with_one
    assert change(http, "rollback").active_version is None
    assert answers(http) == before
    assert change(http, "rollback").active_version is None  # there is nothing before it


@pytest.mark.slow(2)
def test_two_skills_taught_at_once_are_both_served(serve, rows):
    http = serve()
    asked = [
        teach(http, rows, task={"name": name}, activate=True, seed=seed)
        for seed, name in enumerate(("first", "second"))
    ]
    for response in asked:
        report(http, response)
    segment = answers(http)["segments"][0]
    assert set(segment["skills"]) == {"first", "second"}
    listed = http.get("/v1/skills").json()["skills"]
    assert {skill["name"]: skill["active_version"] for skill in listed} == {"first": 1, "second": 1}
    assert change(http, "deactivate", name="first").active_version is None
    assert set(answers(http)["segments"][0]["skills"]) == {"second"}


def test_a_request_with_a_key_is_one_job(http, rows):
    headers = {"idempotency-key": "monday"}
    first, again = (teach(http, rows, task={"name": "keyed"}, headers=headers) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    other = teach(http, rows, task={"name": "keyed"}, seed=1, headers=headers)
    assert_problem(other, 422, "idempotency-key-reused")
    assert report(http, first)["version"] == 1
    job = http.get(first.headers["location"]).json()
    assert job["input"]["kind"] == "labels"
    assert job["request"] == {
        "task": {**TASK, "name": "keyed"}, "method": "auto", "seed": 0, "activate": False
    }  # fmt: skip


def test_labels_are_text_whatever_they_say(http, rows):
    marked = [row | {"label": MARKUP if row["label"] == "wild" else row["label"]} for row in rows]
    made = report(
        http, teach(http, marked, task={"name": "marked"}, none_label=MARKUP, activate=True)
    )
    assert made["labels"] == sorted({"calm, quiet", MARKUP})
    assert made["none"]["label"] == MARKUP
    labels = answers(http, tasks="marked")["segments"][0]["skills"]["marked"]["labels"]
    assert MARKUP in {label["label"] for label in labels}
    assert MARKUP not in http.get("/metrics").text
    assert change(http, "deactivate", name="marked").active_version is None


WRONG_CSV = [
    ("", "line 1", "columns"),
    ("video,start_s,end_s\na,1,2\n", "line 1", "columns"),
    ("video,start_s,end_s,label\n", "line 2", "no rows"),
    ("video,start_s,end_s,label\na,1,2,x\na,3,two,y\n", "line 3", "seconds"),
    ("video,start_s,end_s,label\na,2,1,x\n", "line 2", "more than start_s"),
    ("video,start_s,end_s,label\na,1,2,x,y\n", "line 2", "as many values"),
    ("video,start_s,end_s,label\na,1,2,x\nz,1,2,y\n", "line 3", "expected one of a, b, c"),
    ("video,start_s,end_s,label\na,1,999,x\nb,1,2,y\n", "line 2", "at most"),
    ("video,start_s,end_s,label\na,1,2,x\nb,1,2,x\n", "/labels", "at least 2"),
    ('video,start_s,end_s,label\na,1,2,"x\ny"\nb,1,2,z\n', "line", "control"),
]


@pytest.mark.parametrize(("text", "where", "why"), WRONG_CSV)
def test_a_wrong_file_of_labels_is_refused_by_line(http, text, where, why):
    code = "labels-invalid" if text else "invalid-field"
    problem = assert_problem(teach(http, text), 422, code)
    assert all(len(error["detail"]) < 600 for error in problem["errors"])
    if text:
        assert problem["errors"][0]["pointer"] == "/labels_csv"
        assert where in problem["errors"][0]["detail"]
        assert why in problem["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"end_s": 0.5}, "/labels/1/end_s"),
        ({"end_s": "x"}, "/labels/1/end_s"),
        ({"video": "z"}, "/labels/1/video"),
        ({"label": ""}, "/labels/1/label"),
        ({"label": "x" * 201}, "/labels/1/label"),
        ({"label": "a\x00b"}, "/labels/1/label"),
        ({"split": "later"}, "/labels/1/split"),
        ({"colour": "red"}, "/labels/1/colour"),
    ],
)
def test_a_wrong_label_is_refused_by_its_place(http, rows, change, pointer):
    wrong = [*rows[:1], rows[1] | {"start_s": 1.0} | change, *rows[2:]]
    problem = assert_problem(teach(http, wrong), 422, "labels-invalid")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("more", "code", "pointer"),
    [
        ({"task": {"name": "ar"}}, "labels-invalid", "/task/name"),
        ({"task": {"name": "verb"}}, "labels-invalid", "/task/name"),
        ({"task": {"name": "suggest"}}, "labels-invalid", "/task/name"),
        ({"task": {"name": "A b"}}, "invalid-field", "/task/name"),
        ({"task": {"nodes": 4}}, "labels-invalid", "/task/nodes"),
        ({"task": {"kind": "localise"}}, "invalid-field", "/task/kind"),
        ({"task": {"labels": ["calm, quiet", "other"]}}, "labels-invalid", None),
        ({"none_label": "nobody"}, "labels-invalid", "/none_label"),
        ({"threshold": 0.5}, "labels-invalid", "/threshold"),
        ({"threshold": 1.5, "activate": True}, "invalid-field", "/threshold"),
        ({"labels_csv": "x"}, "invalid-field", ""),
        ({"webhook_url": "https://example.org/x"}, "invalid-field", "/webhook_url"),
        ({"method": "egopack"}, "invalid-field", "/method"),
    ],
)
def test_a_wrong_choice_is_refused_by_its_field(http, rows, more, code, pointer):
    problem = assert_problem(teach(http, rows, **more), 422, code)
    if pointer is not None:
        assert problem["errors"][0]["pointer"] == pointer


def test_what_is_no_json_is_refused(http):
    sent = http.post("/v1/skills", content=b"x", headers={"content-type": "text/csv"})
    assert_problem(sent, 415, "unsupported-media")
    sent = http.post("/v1/skills", content=b"{", headers={"content-type": "application/json"})
    assert_problem(sent, 400, "malformed-request")


def many(count, *, as_csv):
    rows = [
        {"video": "a", "start_s": i / 1000, "end_s": i / 1000 + 2, "label": f"l{i % 2}"}
        for i in range(count)
    ]
    if not as_csv:
        return rows
    lines = [f"a,{row['start_s']},{row['end_s']},{row['label']}" for row in rows]
    return "\n".join(["video,start_s,end_s,label", *lines]) + "\n"


@pytest.mark.slow(4)
@pytest.mark.parametrize("as_csv", [True, False])
def test_ten_thousand_labels_are_taken_and_one_more_is_not(serve, as_csv):
    http = serve(job_workers=0)
    assert teach(http, many(10_000, as_csv=as_csv)).status_code == 202
    problem = assert_problem(teach(http, many(10_001, as_csv=as_csv)), 422, "labels-invalid")
    assert "10001 labels, of at most 10000" in problem["detail"]
    assert problem["limits"] == {"teaching_labels": 10_000}


@pytest.mark.slow(2)
def test_a_skill_belongs_to_the_key_that_taught_it(serve, rows):
    ann, bob = {"x-api-key": "annas-key"}, {"x-api-key": "bobs-key"}
    http = serve((ann, bob), api_keys={"ann": "annas-key", "bob": "bobs-key"})
    report(http, teach(http, rows, headers=ann), ann)
    assert_problem(http.get("/v1/skills/hand", headers=bob), 404, "not-found")
    assert http.get("/v1/skills", headers=bob).json() == {"skills": []}
    assert_problem(teach(http, rows, headers=bob), 403, "skill-owned")
    for method, path, body in (
        ("POST", "activate", {"version": 1}), ("POST", "deactivate", None),
        ("POST", "rollback", None), ("DELETE", "versions/1", None),
        ("POST", "compare", {"versions": [1, 1], "labels": rows}),
    ):  # fmt: skip
        refused = http.request(method, f"/v1/skills/hand/{path}", json=body, headers=bob)
        assert_problem(refused, 403, "skill-owned")
    assert_problem(http.delete("/v1/skills/hand", headers=bob), 403, "skill-owned")
    change(http, "activate", version=1, headers=ann)
    (seen,) = http.get("/v1/skills", headers=bob).json()["skills"]
    assert (seen["owner_is_you"], seen["active_version"], len(seen["versions"])) == (False, 1, 1)
    assert http.get("/v1/skills/hand/versions/1", headers=bob).status_code == 200


@pytest.mark.slow(2)
def test_what_is_served_is_not_deleted_and_what_is_deleted_is_gone(serve, rows):
    http = serve(teaching_versions=2, teaching_skills=1)
    for seed in (0, 1):
        report(http, teach(http, rows, seed=seed, activate=True))
    assert_problem(teach(http, rows), 409, "teaching-quota")
    assert_problem(teach(http, rows, task={"name": "more"}), 409, "teaching-quota")
    assert_problem(http.delete("/v1/skills/hand"), 409, "skill-active")
    assert_problem(http.delete("/v1/skills/hand/versions/2"), 409, "skill-active")
    assert_problem(http.delete("/v1/skills/hand/versions/3"), 404, "not-found")
    assert http.delete("/v1/skills/hand/versions/1").status_code == 204
    assert change(http, "rollback").active_version is None  # the version before it is gone
    assert report(http, teach(http, rows))["version"] == 3  # numbers are not used again
    assert http.delete("/v1/skills/hand").status_code == 204
    for path in ("", "/versions/2"):
        assert_problem(http.get(f"/v1/skills/hand{path}"), 404, "not-found")
    assert_problem(http.post("/v1/skills/hand/activate", json={"version": 2}), 404, "not-found")
    assert report(http, teach(http, rows, task={"name": "more"}))["name"] == "more"


def test_two_versions_are_compared_on_the_same_labels(http, rows):
    for few in (rows, rows[:12]):
        report(http, teach(http, few, task={"name": "pair"}))
    asked = {"versions": [1, 2], "labels": rows}
    found = http.post("/v1/skills/pair/compare", json=asked)
    assert found.status_code == 200, found.text
    body = schemas.Comparison.model_validate(found.json())
    assert body.labels == len(rows)
    right = {v: found.json()[f"only_{v}_right"] + body.both_right for v in "12"}
    assert body.accuracy == {v: count / len(rows) for v, count in right.items()}
    assert body.low <= body.difference <= body.high
    unknown = [rows[0] | {"label": "nobody"}, *rows[1:]]
    sent = http.post("/v1/skills/pair/compare", json={"versions": [1, 2], "labels": unknown})
    assert_problem(sent, 422, "labels-invalid")
    sent = http.post("/v1/skills/pair/compare", json={"versions": [1, 1], "labels": rows})
    assert_problem(sent, 422, "invalid-field")
    sent = http.post("/v1/skills/pair/compare", json={"versions": [1, 9], "labels": rows})
    assert_problem(sent, 404, "not-found")


def test_what_to_label_next_is_of_the_clips_that_are_kept(http, rows):
    def ask(**more):
        return http.post("/v1/skills/suggest", json={"task": TASK, **more})

    for labels in ({}, {"labels": []}, {"labels": rows[:1]}, {"labels": rows[:9]}):
        found = ask(**labels, count=3)
        assert found.status_code == 200, found.text
        body = schemas.Suggestions.model_validate_json(found.text, strict=True)
        assert 1 <= len(body.segments) <= 3
        assert {one.video for one in body.segments} <= set("abc")
    assert ask(labels=rows[:9], count=3).json() == found.json()
    of_b = ask(labels=rows[:9], clips=["b"]).json()["segments"]
    assert {one["video"] for one in of_b} == {"b"}
    assert_problem(ask(clips=["z"]), 422, "labels-invalid")
    assert_problem(ask(labels=[rows[0] | {"video": "z"}]), 422, "labels-invalid")
    assert_problem(ask(labels=rows, labels_csv="x"), 422, "invalid-field")
    assert_problem(ask(count=0), 422, "invalid-field")


@pytest.mark.slow(3)
def test_teaching_waits_for_a_full_disk_and_then_ends(serve, rows, monkeypatch):
    http, fails = serve(), [True]
    publish = TeachingFiles.publish

    def full(files, folder, place):
        if "skills" in place.parts and fails:
            fails.pop()
            raise OSError(errno.ENOSPC, "No space left on device")
        publish(files, folder, place)

    monkeypatch.setattr(TeachingFiles, "publish", full)
    asked = teach(http, rows, activate=True)
    job = wait_for(lambda: _waiting(http, asked.headers["location"]))
    assert (job["state"], job["progress"]["stage"]) == ("running", "waiting")
    assert "full" in job["progress"]["reason"]
    assert report(http, asked)["version"] == 1
    assert (skill_of(http).active_version, fails) == (1, [])


def _waiting(http, path):
    job = http.get(path).json()
    return job if "reason" in job.get("progress", {}) else None


def test_clips_of_another_encoder_are_told_by_name(serve, store, rows, monkeypatch):
    http = serve(job_workers=0)
    (clip,) = [c for c in http.get("/v1/clips").json()["clips"] if c["name"] == "b"]
    assert http.delete(f"/v1/clips/{clip['id']}").status_code == 204
    foreign = replace(store.read("b"), encoder=EncoderId("old", "0" * 64))
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "check", lambda *_: None)
        assert keep(http, foreign).status_code == 201
    problem = assert_problem(teach(http, rows), 422, "labels-invalid")
    assert problem["errors"][0]["detail"].endswith("send again: b")
