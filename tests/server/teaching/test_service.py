"""What is taught outlives its server, follows its bundle, and reaches other servers."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from model.predict.predictor import Predictor
from tests.server.conftest import assert_problem
from tests.server.teaching.teaching_app import keep, report, rows_of, teach, teaching_app
from tests.support.factories import make_bundle
from tests.support.own_tasks import write_features
from tests.support.waiting import wait_for
from weights.bundle import save_bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle, features, labels, and a state folder in which `hand` is served."""
    folder = tmp_path_factory.mktemp("service")
    bundle = save_bundle(make_bundle(), folder / "bundle")
    store = write_features(folder / "features", Predictor(bundle).encoder)
    rows = rows_of(folder)
    with teaching_app(folder / "bundle", state_dir=folder / "state") as http:
        for video in "abc":
            keep(http, store.read(video))
        report(http, teach(http, rows, activate=True))
    return folder, rows, store


@pytest.fixture
def state(made, tmp_path):
    shutil.copytree(made[0] / "state", tmp_path / "state")
    return tmp_path / "state"


def model(http):
    return http.get("/v1/models").json()["models"][0]


def statuses(http):
    (skill,) = http.get("/v1/skills").json()["skills"]
    return skill["active_version"], [version["status"] for version in skill["versions"]]


def test_what_is_served_is_served_again_after_a_restart(made, state):
    folder, _, _ = made
    with teaching_app(folder / "bundle", state_dir=state) as http:
        assert "hand" in model(http)["tasks"]
        assert statuses(http) == (1, ["usable"])
        assert [clip["name"] for clip in http.get("/v1/clips").json()["clips"]] == ["a", "b", "c"]


def test_a_relative_folder_will_do_as_by_default(made, state, monkeypatch):
    folder, rows, _ = made
    monkeypatch.chdir(state.parent)
    with teaching_app(folder / "bundle", state_dir=Path(state.name)) as http:
        assert report(http, teach(http, rows[:12], activate=True))["version"] == 2
        asked = {"versions": [1, 2], "labels": rows}
        found = http.post("/v1/skills/hand/compare", json=asked)
        assert found.status_code == 200, found.text
        assert statuses(http) == (2, ["usable", "usable"])


@pytest.mark.slow(1)
def test_with_another_bundle_its_skills_rest_until_that_one_is_back(made, state, caplog):
    folder, rows, _ = made
    save_bundle(replace(make_bundle(), card="another\n"), folder / "other")
    with caplog.at_level(logging.WARNING), teaching_app(folder / "other", state_dir=state) as http:
        assert "hand" not in model(http)["tasks"]
        assert statuses(http) == (None, ["other-bundle"])
        assert "not served: hand" in caplog.text
        refused = http.post("/v1/skills/hand/activate", json={"version": 1})
        assert_problem(refused, 409, "skill-unusable")
        assert report(http, teach(http, rows, activate=True))["version"] == 2
        assert statuses(http) == (2, ["other-bundle", "usable"])
    with teaching_app(folder / "bundle", state_dir=state) as http:
        assert statuses(http) == (1, ["usable", "other-bundle"])


@pytest.mark.slow(1)
def test_a_server_that_shares_the_folder_follows(made, state):
    folder, _, _ = made
    shared = {"state_dir": state, "teaching_poll_s": 0.05}
    with (
        teaching_app(folder / "bundle", **shared) as here,
        teaching_app(folder / "bundle", **shared) as there,
    ):
        for name, has_it in (("deactivate", False), ("rollback", True)):
            assert here.post(f"/v1/skills/hand/{name}").status_code == 200
            assert ("hand" in model(here)["tasks"]) == has_it
            wait_for(lambda has_it=has_it: ("hand" in model(there)["tasks"]) == has_it)
        assert model(here) | {"backbone_passes": 0} == model(there) | {"backbone_passes": 0}
        assert statuses(there) == (1, ["usable"])


def test_who_changed_what_is_logged_and_counted_without_names(made, state, caplog):
    folder, _, store = made
    caplog.set_level(logging.INFO, "server.teaching.service")
    with teaching_app(folder / "bundle", state_dir=state) as http:
        clip = keep(http, store.read("d")).json()
        http.delete(f"/v1/clips/{clip['id']}")
        http.post("/v1/skills/hand/deactivate")
        http.delete("/v1/skills/hand")
        page = http.get("/metrics").text
    lines = [record for record in caplog.records if hasattr(record, "audit")]
    assert [line.audit for line in lines] == [
        "clip-kept", "clip-deleted", "skill-deactivated", "skill-deleted"
    ]  # fmt: skip
    assert [line.key for line in lines] == [None] * 4
    assert (lines[0].clip, lines[2].skill) == (clip["id"], "hand")
    counted = [line for line in page.splitlines() if line.startswith("egopack_teaching_changes_t")]
    assert len(counted) == 4
    assert not any("hand" in line for line in counted)
