import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from extract.errors import RuntimeUnavailable
from extract.runtime.onnx_encoder import OnnxEncoder
from server.engine.bundle_loader import load_predictor
from server.engine.engine import Engine
from server.errors import NotReady
from tests.server.support.fakes import FakePool, FakePredictor, make_settings
from tests.support.factories import make_bundle
from tests.support.waiting import PATIENCE_S, wait_until
from weights.bundle import save_bundle
from weights.errors import RemoteFailed


@pytest.mark.slow
def test_the_setting_decides_and_auto_remembers_in_its_folder(tmp_path):
    save_bundle(make_bundle(), tmp_path / "bundle")

    def load(runtime):
        return load_predictor(
            make_settings(bundle=tmp_path / "bundle", runtime=runtime, cache=tmp_path / "cache")
        )

    assert isinstance(load("onnx").encoder, OnnxEncoder)
    assert not isinstance(load("torch").encoder, OnnxEncoder)
    assert not (tmp_path / "cache").exists()
    assert load("auto").runtime.reason.startswith("measured now")
    assert load("auto").runtime.reason.startswith("measured before")


def test_a_runtime_that_cannot_be_had_keeps_the_server_from_starting(tmp_path):
    save_bundle(replace(make_bundle(), encoder_onnx=b""), tmp_path / "bundle")
    with pytest.raises(RuntimeUnavailable, match="set the runtime to torch"):
        load_predictor(make_settings(bundle=tmp_path / "bundle", runtime="onnx"))


def test_a_reduced_precision_is_torchs_and_makes_features_of_its_own(tmp_path):
    save_bundle(make_bundle(), tmp_path / "bundle")

    def load(**values):
        settings = make_settings(bundle=tmp_path / "bundle", cache=tmp_path / "cache", **values)
        return load_predictor(settings)

    reduced, whole = load(precision="bf16"), load(runtime="torch")
    assert reduced.runtime.name == "torch"
    assert "bf16" in reduced.runtime.reason
    assert reduced.encoder.fingerprint != whole.encoder.fingerprint
    with pytest.raises(RuntimeUnavailable, match="fp32"):
        load(precision="bf16", runtime="onnx")
    with pytest.raises(RuntimeUnavailable, match="CUDA"):
        load(execution="graph")


class Bundles:
    """What `load` finds: the newest of several predictors, or an error."""

    def __init__(self):
        self.newest = FakePredictor()
        self.hold = lambda: None

    def __call__(self):
        self.hold()
        if isinstance(self.newest, Exception):
            raise self.newest
        return self.newest


@asynccontextmanager
async def reloadable():
    bundles, pool = Bundles(), FakePool()
    engine = Engine(make_settings(), load=bundles, pool=pool)
    await engine.start()
    try:
        yield engine, bundles, pool
    finally:
        await engine.stop()


def named(version):
    predictor = FakePredictor()
    predictor.version = version
    return predictor


def test_a_reload_switches_between_batches_and_old_requests_finish_on_the_old_model(ask):
    async def main():
        async with reloadable() as (engine, bundles, pool):
            old, new = bundles.newest, named("2")
            gate = threading.Event()
            pool.hold = lambda: gate.wait(PATIENCE_S)
            begun = asyncio.create_task(ask(engine))
            await wait_until(lambda: engine._feature_stage.decoding > 0)
            bundles.newest = new
            await engine.reload()
            assert new.batches == [1]  # the canary went through it first
            late = asyncio.create_task(ask(engine))
            await wait_until(lambda: engine._feature_stage.decoding > 1)
            gate.set()
            assert (await begun).predictor is old
            assert (await late).predictor is new
            assert engine.checks["reload"] == "ok"

    asyncio.run(main())


@pytest.mark.parametrize("broken", ["load", "canary"])
def test_a_bundle_that_fails_is_not_served(ask, broken, caplog):
    async def main():
        async with reloadable() as (engine, bundles, _):
            old, bad = bundles.newest, named("2")

            def fail():
                raise RuntimeError("no such luck in /secret")

            bad.before_predict = fail
            bundles.newest = OSError("no such luck in /secret") if broken == "load" else bad
            await engine.reload()
            assert engine.checks["reload"] == "failed"
            assert "no such luck" in caplog.text
            assert (await ask(engine)).predictor is old
            engine.life.require_ready()

    asyncio.run(main())


def test_a_reload_that_hangs_is_given_up_and_keeps_nothing_from_ending(ask, caplog):
    gate = threading.Event()

    async def main():
        async with reloadable() as (engine, bundles, _):
            engine._reloader._timeout_s = 0.05
            bundles.hold = lambda: gate.wait(PATIENCE_S)
            await engine.reload()
            assert engine.checks["reload"] == "failed"
            await engine.reload()  # a second thread would hang as the first does
            assert "has not returned yet" in caplog.text
            assert hanging().daemon  # so that Python does not wait for it at exit
            assert [t.name for t in threading.enumerate()].count("reload") == 1
            assert (await ask(engine)).prediction.segments
        assert hanging()
        gate.set()

    def hanging():
        return next(one for one in threading.enumerate() if one.name == "reload")

    asyncio.run(main())


def test_a_server_whose_first_bundle_hangs_can_be_stopped():
    gate = threading.Event()

    async def main():
        engine = Engine(make_settings(), load=lambda: gate.wait(PATIENCE_S), pool=FakePool())
        starting = asyncio.create_task(engine.start())
        await wait_until(lambda: any(one.name == "load" for one in threading.enumerate()))
        starting.cancel()
        await engine.stop()
        assert not gate.is_set()
        gate.set()

    asyncio.run(main())


def test_a_bundle_that_cannot_be_asked_for_is_not_reloaded_from_a_cache(ask, caplog):
    def latest_sha256():
        raise RemoteFailed("s3://bucket/bundle/manifest.json: nobody answers")

    async def main():
        bundles = Bundles()
        engine = Engine(make_settings(), load=bundles, pool=FakePool(), latest_sha256=latest_sha256)
        await engine.start()
        try:
            old, bundles.newest = bundles.newest, named("2")
            await engine.reload()
            assert engine.checks["reload"] == "failed"
            assert "nobody answers" in caplog.text
            assert (await ask(engine)).predictor is old
        finally:
            await engine.stop()

    asyncio.run(main())


@asynccontextmanager
async def replaceable():
    """An engine that can be given another bundle: the place is its predictor."""
    bundles, pool = Bundles(), FakePool()
    engine = Engine(make_settings(), load=bundles, pool=pool, load_from=lambda place, _: place)
    await engine.start()
    try:
        yield engine, bundles.newest, pool
    finally:
        await engine.stop()


async def no_commit():
    pass


def test_a_bundle_that_is_replaced_ends_what_began_on_it(ask):
    async def main():
        async with replaceable() as (engine, old, pool):
            new, gate, committed = named("2"), threading.Event(), []

            async def commit():
                assert (new.batches, engine.predictor) == ([1], old)  # probed, and not served yet
                committed.append(True)

            pool.hold = lambda: gate.wait(PATIENCE_S)
            begun = asyncio.create_task(ask(engine))
            await wait_until(lambda: engine._feature_stage.decoding > 0)
            await engine.replace(new, commit)
            assert committed
            late = asyncio.create_task(ask(engine))
            await wait_until(lambda: engine._feature_stage.decoding > 1)
            gate.set()
            assert ((await begun).predictor, (await late).predictor) == (old, new)

    asyncio.run(main())


@pytest.mark.parametrize("broken", ["probe", "commit"])
def test_a_bundle_that_fails_or_cannot_be_committed_replaces_nothing(ask, broken):
    async def main():
        async with replaceable() as (engine, old, _):
            new, committed = named("2"), []

            def fail():
                raise RuntimeError("no such luck")

            async def commit():
                committed.append(True)
                if broken == "commit":
                    fail()

            if broken == "probe":
                new.before_predict = fail
            with pytest.raises(RuntimeError, match="no such luck"):
                await engine.replace(new, commit)
            assert committed == ([True] if broken == "commit" else [])
            assert (await ask(engine)).predictor is old
            assert engine.checks["reload"] == "failed"
            await engine.replace(named("3"), no_commit)
            assert engine.checks["reload"] == "ok"

    asyncio.run(main())


def test_a_commit_that_has_begun_is_followed_by_the_switch_whoever_is_cancelled():
    async def main():
        async with replaceable() as (engine, _, _):
            new, begun, gate = named("2"), asyncio.Event(), asyncio.Event()

            async def commit():
                begun.set()
                await gate.wait()

            replacing = asyncio.create_task(engine.replace(new, commit))
            await begun.wait()
            replacing.cancel()
            await asyncio.sleep(0)
            gate.set()
            with pytest.raises(asyncio.CancelledError):
                await replacing
            assert engine.predictor is new

    asyncio.run(main())


def test_what_is_not_ready_is_given_no_other_bundle():
    async def main():
        engine = Engine(make_settings(), load=Bundles(), pool=FakePool())
        with pytest.raises(NotReady):
            await engine.replace(named("2"), no_commit)

    asyncio.run(main())
