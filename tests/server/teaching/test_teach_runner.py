"""The work of a job that teaches, without a server."""

import asyncio
import shutil
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import pytest

from extract.features.store import FeatureStore
from extract.features.track_file import read_track
from model.predict.predictor import Predictor
from server.errors import LabelsInvalid, NotReady, SkillOwned
from server.teaching.clips import ClipStore, SentClip
from server.teaching.files import TeachingFiles, names_in
from server.teaching.labels import TeachInput
from server.teaching.teach_runner import TeachRunner
from server.teaching.versions import VersionStore
from tests.server.support.fakes import make_settings
from tests.server.teaching.teaching_app import TASK, learn_here, rows_of
from tests.support.factories import make_bundle
from tests.support.own_tasks import write_features
from weights.bundle import save_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wanted")
    bundle = save_bundle(make_bundle(), folder / "bundle")
    write_features(folder / "features", Predictor(bundle).encoder)
    return folder


@pytest.fixture
def room(folder):
    """The parts of a server that teach, three clips of ann's, and what is to be learnt of them."""
    shutil.copytree(folder / "bundle", place := folder / "used", dirs_exist_ok=True)
    settings = make_settings(bundle=place)
    files = TeachingFiles(settings)
    files.create()
    clips, versions = ClipStore(files, settings), VersionStore(files, settings)
    store, ids = FeatureStore(folder / "features"), {}
    for video in "abc":
        path = folder / "features" / f"{video}.safetensors"
        ids[video] = clips.keep("ann", SentClip(video, store.read(video), path))[0].id
    wanted = TeachInput(
        task=TASK, labels=rows_of(folder), clips=ids, none_label=None, method="auto", seed=0,
        activate=False, threshold=None,
    )  # fmt: skip
    runner = TeachRunner(settings, files, clips, versions)
    with mock.patch("server.teaching.teach_runner.learn", learn_here):
        yield SimpleNamespace(
            runner=runner, files=files, clips=clips, versions=versions, wanted=wanted, ids=ids,
            bundle=place,
        )  # fmt: skip


def job(number=1, caller="ann"):
    return SimpleNamespace(id=f"{number:032x}", token=1, caller=caller)


def learn(room, one, stages=None):
    stages = [] if stages is None else stages
    return asyncio.run(
        room.runner.learn(one, room.wanted, lambda progress: stages.append(progress.stage))
    )


def test_a_job_that_is_run_again_finds_what_it_made(room):
    stages = []
    made, is_new = learn(room, job(), stages)
    assert (made.version, is_new, stages) == (1, True, ["learning"])
    assert learn(room, job()) == (made, False)
    assert learn(room, job(2))[0].version == 2
    assert names_in(room.files.work) == []


def test_a_clip_that_was_deleted_since_is_told_by_its_name(room):
    room.clips.delete("ann", room.ids["b"])
    with pytest.raises(LabelsInvalid, match="the clip b was deleted"):
        learn(room, job())
    assert names_in(room.files.work) == []


def test_clips_and_skills_of_others_are_out_of_reach(room):
    with pytest.raises(LabelsInvalid, match="the clip a was deleted"):
        learn(room, job(caller="bob"))
    learn(room, job())
    ids = {}
    for video, clip_id in room.ids.items():
        path = room.clips.features(room.clips.find("ann", clip_id))
        ids[video] = room.clips.keep("bob", SentClip(video, read_track(path), path))[0].id
    room.wanted = room.wanted.model_copy(update={"clips": ids})
    with pytest.raises(SkillOwned):
        learn(room, job(2, caller="bob"))


def test_a_bundle_that_is_replaced_meanwhile_is_learnt_on_again(room):
    async def replacing(request, folder, **limits):
        result = await learn_here(request, folder, **limits)
        save_bundle(replace(make_bundle(), card="another\n"), room.bundle)
        return result

    with mock.patch("server.teaching.teach_runner.learn", replacing), pytest.raises(NotReady):
        learn(room, job())
    made, _ = learn(room, job())
    report = room.versions.report(made)
    assert (report["version"], report["bundle_sha256"]) == (1, made.bundle_sha256)
