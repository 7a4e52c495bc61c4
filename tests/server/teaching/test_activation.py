"""Which skills are served: steps as values, and bundles made, probed, committed, switched to."""

import asyncio
import os
import time
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.predict.predictor import Predictor
from model.train.new_skill.teaching.__main__ import main
from server.engine.active import Active, ActiveSet, ActiveVersion, read_active
from server.engine.engine import Engine
from server.errors import NotFound, SkillUnusable, StorageUnavailable
from server.teaching.activation import KEPT_S, MOST_BEFORE, Activation, Step, forgotten
from server.teaching.files import TeachingFiles, names_in
from server.teaching.versions import VersionStore
from tests.model.train.new_skill.teaching.made import write_request
from tests.server.support.fakes import make_settings
from tests.server.teaching.teaching_app import TASK, rows_of
from tests.support.factories import make_bundle
from tests.support.own_tasks import write_features
from weights.bundle import load_bundle, save_bundle

versions = st.builds(ActiveVersion, version=st.integers(1, 3))
steps = st.lists(
    st.builds(Step, name=st.sampled_from("ab"), to=versions | st.none(), is_back=st.booleans())
)


def ONE(version=1, threshold=None):
    return ActiveVersion(version=version, threshold=threshold)


@given(steps)
def test_a_step_back_undoes_the_last_change_of_its_skill_alone(given_steps):
    now = ActiveSet()
    for step in given_steps:
        after = step.apply(now)
        other = "b" if step.name == "a" else "a"
        assert after.skills.get(other) == now.skills.get(other)
        if not step.is_back:
            assert after.skills.get(step.name) == step.to
            assert Step(step.name, is_back=True).apply(after).skills == (
                now.skills if step.to != now.skills.get(step.name)
                else Step(step.name, is_back=True).apply(now).skills
            )  # fmt: skip
        assert len(after.before[step.name]) <= MOST_BEFORE
        now = after


def test_deleted_versions_are_not_gone_back_to():
    one = ActiveSet(before={"hand": [None, ONE(1), ONE(2)], "other": [ONE(1)]})
    active = forgotten(Active(sets={"x": one}), lambda name, n: (name, n) == ("hand", 1))
    assert active.sets["x"].before == {"hand": [None, ONE(2)], "other": [ONE(1)]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle, and what processes learnt on it from more and from fewer labels."""
    folder = tmp_path_factory.mktemp("activation")
    bundle = save_bundle(make_bundle(), folder / "bundle")
    write_features(folder / "features", Predictor(bundle).encoder)
    rows = rows_of(folder)
    for number, few in ((1, rows), (2, rows[:12])):
        write_request(folder / f"{number}", folder, action="teach", task=TASK, labels=few)
        assert main([str(folder / f"{number}")]) == 0
    return folder


@asynccontextmanager
async def started(folder, **values):
    settings = make_settings(bundle=folder / "bundle", **values)
    engine = Engine.from_settings(settings)
    await engine.start()
    assert engine.life.state == "ready", engine.life.failure
    files = TeachingFiles(settings)
    files.create()
    store = VersionStore(files, settings)
    sha256 = load_bundle(folder / "bundle").sha256
    for number in (1, 2):
        facts = {"name": "hand", "owner": "", "job_id": f"{number}", "bundle_sha256": sha256}
        store.keep(folder / f"{number}" / "result", **facts)
    try:
        yield engine, Activation(engine, files, store), store
    finally:
        await engine.stop()


@pytest.mark.slow(2)
def test_the_encoder_stays_the_same_object_and_old_bundles_go_after_a_while(folder):
    async def run():
        async with started(folder) as (engine, activation, _):
            base, settings = engine.predictor, engine.settings
            made = await activation.change(Step("hand", ONE(1)))
            with_one = engine.predictor
            assert with_one.encoder is base.encoder
            assert (with_one.sha256, "hand" in with_one.tasks) == (made.bundle_sha256, True)
            saved = load_bundle(settings.state_dir / "teaching" / "bundles" / made.bundle)
            assert saved.sha256 == made.bundle_sha256
            again = await activation.change(Step("hand", ONE(1)))
            assert (again, engine.predictor) == (made, with_one)
            await activation.change(Step("hand", ONE(2)))
            bundles = settings.state_dir / "teaching" / "bundles"
            assert len(names_in(bundles)) == 2
            long_ago = time.time() - 2 * KEPT_S
            for name in names_in(bundles):
                os.utime(bundles / name, (long_ago, long_ago))
            other = await activation.change(Step("hand", ONE(2, 0.9)))
            assert names_in(bundles) == [other.bundle]
            await activation.change(Step("hand", is_back=True))
            await activation.change(Step("hand", is_back=True))
            assert engine.predictor.sha256 == with_one.sha256

    asyncio.run(run())


@pytest.mark.slow(1)
@pytest.mark.parametrize("broken", ["save", "load", "commit"])
def test_a_change_that_fails_leaves_what_was_served(folder, monkeypatch, broken):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    async def run():
        async with started(folder) as (engine, activation, _):
            before = engine.predictor
            with monkeypatch.context() as patch:
                name = {"save": "save_bundle", "commit": "write_active"}.get(broken)
                if name is not None:
                    patch.setattr(f"server.teaching.activation.{name}", fail)
                else:
                    patch.setattr(engine, "_load_from", fail)
                with pytest.raises((StorageUnavailable, OSError)):
                    await activation.change(Step("hand", ONE(1)))
            assert engine.predictor is before
            assert read_active(engine.settings) == Active()
            assert names_in(engine.settings.state_dir / "teaching" / "work") == []
            made = await activation.change(Step("hand", ONE(1)))
            assert engine.predictor.sha256 == made.bundle_sha256

    asyncio.run(run())


def test_a_version_of_another_bundle_is_not_served(folder):
    async def run():
        async with started(folder) as (engine, activation, store):
            facts = {"name": "hand", "owner": "", "job_id": "3", "bundle_sha256": "0" * 64}
            store.keep(folder / "1" / "result", **facts)
            with pytest.raises(SkillUnusable, match="version 3 of hand was taught on the bundle"):
                await activation.change(Step("hand", ONE(3)))
            with pytest.raises(NotFound):
                await activation.change(Step("hand", ONE(4)))
            assert "hand" not in engine.predictor.tasks

    asyncio.run(run())
