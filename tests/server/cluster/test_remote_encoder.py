"""A batch survives encoders that die, hang or have another bundle; without any, it says so."""

import time
from dataclasses import replace

import numpy as np
import pytest
import ray
from ray.serve.exceptions import BackPressureError

from extract.contract import TABLETOP
from extract.encoders.encoder import preparer
from extract.windows import clip_windows, placed_windows
from model.errors import FeatureMismatch
from server.cluster import remote_encoder as remote
from server.cluster.messages import Encoded, EncoderFacts, Failed
from server.cluster.remote_encoder import EncoderPool, RemoteEncoder, load_predictor
from server.errors import EncoderLost, OutOfMemory, QueueFull
from tests.support.factories import make_bundle
from weights import SHIPPED_BUNDLE
from weights.bundle import load_bundle, save_bundle

FACTS = EncoderFacts("b" * 64, "fake", 1, TABLETOP, "f" * 64)
OTHER = Failed("other-bundle", "asked for this, have that")


def windows(count):
    """Window k is grey level k."""
    frames = np.arange(count, dtype=np.uint8).repeat(3).reshape(-1, 1, 1, 3)
    return placed_windows(frames, np.arange(count).repeat(2).reshape(-1, 2))


def encoded(part):
    return Encoded(part.mean(axis=(1, 2, 3, 4))[:, None].astype(np.float32), "b" * 64, "f" * 64)


class Replies:
    """A deployment's handle whose calls end one after the other as told, then well.

    An exception is raised, a number is a hang of so many seconds, anything else is the answer.
    """

    def __init__(self, *told):
        self.told = list(told)
        self.parts, self.frames = [], []
        self.cancelled = 0
        self.untaken = self.most_untaken = 0

    @property
    def encode(self):
        return self

    @property
    def describe(self):
        return self

    def remote(self, asked, places=None, sha256=None):
        if places is not None:
            self.parts.append(len(places))
            self.frames.append(len(asked))
        told = self.told.pop(0) if self.told else None
        return Reply(self, FACTS if places is None else encoded(asked[places]), told)


class Reply:
    def __init__(self, handle, answer, told):
        self.handle, self.answer, self.told = handle, answer, told
        handle.untaken += 1
        handle.most_untaken = max(handle.most_untaken, handle.untaken)

    def _to_object_ref_sync(self, _timeout_s):
        self.handle.untaken -= 1
        if isinstance(self.told, Exception):
            raise self.told
        if isinstance(self.told, float):
            raise TimeoutError

    def result(self, *, timeout_s):
        if isinstance(self.told, Exception):
            raise self.told
        if isinstance(self.told, float):
            time.sleep(min(self.told, timeout_s))
            raise TimeoutError
        return self.answer if self.told is None else self.told

    def cancel(self):
        self.handle.cancelled += 1


@pytest.fixture(autouse=True)
def nothing_is_shared(monkeypatch):
    monkeypatch.setattr(remote.ray, "put", lambda value: value)
    monkeypatch.setattr(remote, "PAUSE_S", 0.001)


def pool_of(handle, *, shares=1, timeout_s=1.0):
    return EncoderPool(handle, shares=shares, timeout_s=timeout_s)


def test_a_batch_is_shared_out_evenly_and_comes_back_in_order():
    handle = Replies()
    rows = pool_of(handle, shares=3).encode(windows(14), FACTS)
    assert rows.flatten().tolist() == list(range(14))
    assert handle.parts == [5, 5, 4]


def test_a_part_is_sent_when_a_replica_has_taken_the_one_before():
    handle = Replies()
    rows = pool_of(handle, shares=4).encode(windows(16), FACTS)
    assert rows.flatten().tolist() == list(range(16))
    assert handle.most_untaken == 1


def test_frames_that_windows_share_are_sent_once_a_part():
    handle = Replies()
    frames = np.arange(100, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    contract = replace(TABLETOP, window_frames=20, stride_frames=10, frame_step=1)
    rows = pool_of(handle, shares=2).encode(clip_windows(frames, contract), FACTS)
    assert rows.flatten().tolist() == [10 * k + 9.5 for k in range(9)]
    assert (handle.parts, handle.frames) == ([5, 4], [60, 50])


def test_few_windows_are_not_shared_out():
    handle = Replies()
    pool_of(handle, shares=8).encode(windows(6), FACTS)
    assert handle.parts == [4, 2]


@pytest.mark.parametrize(
    "lost",
    [
        ray.exceptions.ActorDiedError(),
        ray.exceptions.ActorUnavailableError("gone for now", None),
        ray.exceptions.WorkerCrashedError(),
        OTHER,
    ],
    ids=lambda lost: type(lost).__name__,
)
def test_what_is_lost_with_a_replica_is_asked_of_another(lost):
    handle = Replies(lost, lost)
    rows = pool_of(handle).encode(windows(3), FACTS)
    assert rows.flatten().tolist() == [0, 1, 2]
    assert handle.parts == [3, 3, 3]


def test_a_replica_that_hangs_is_given_up_for_another():
    handle = Replies(60.0)
    rows = pool_of(handle, timeout_s=0.4).encode(windows(2), FACTS)
    assert rows.flatten().tolist() == [0, 1]
    assert handle.cancelled == 1


def test_without_a_replica_it_says_so_in_time_and_sooner_the_next_time(monkeypatch):
    monkeypatch.setattr(remote, "LOST_TIMEOUT_S", 0.02)
    handle = Replies(*[ray.exceptions.ActorDiedError()] * 10_000)
    pool = pool_of(handle, timeout_s=0.2)
    took = []
    for _ in range(2):
        started_s = time.monotonic()
        with pytest.raises(EncoderLost):
            pool.encode(windows(2), FACTS)
        took.append(time.monotonic() - started_s)
    assert took[1] < took[0] / 2 < 0.3
    handle.told = [OTHER] * 3
    assert pool.encode(windows(2), FACTS).shape == (2, 1)


def test_features_of_another_encoder_are_never_taken():
    for strange in (
        replace(encoded(np.zeros((1, 1, 1, 1, 3))), sha256="c" * 64),
        replace(encoded(np.zeros((1, 1, 1, 1, 3))), fingerprint="c" * 64),
    ):
        with pytest.raises(RuntimeError, match="asked for"):
            pool_of(Replies(strange)).encode(windows(1), FACTS)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (Failed("out-of-memory"), OutOfMemory),
        (BackPressureError(num_queued_requests=9, max_queued_requests=9), QueueFull),
        (Failed("fault", "a bug"), RuntimeError),
    ],
    ids=["memory", "queue", "bug"],
)
def test_what_another_replica_would_not_do_better_is_not_tried_there(said, heard):
    handle = Replies(said)
    with pytest.raises(heard):
        pool_of(handle).encode(windows(2), FACTS)
    assert handle.parts == [2]


def test_a_predictor_with_a_remote_encoder_asks_for_its_own_bundle(monkeypatch):
    bundle = load_bundle(SHIPPED_BUNDLE)
    pool = pool_of(Replies())
    own = replace(FACTS, sha256=bundle.sha256)
    monkeypatch.setattr(pool, "describe", lambda sha256: replace(own, sha256=sha256))
    with pytest.raises(FeatureMismatch, match="replicas"):
        load_predictor(SHIPPED_BUNDLE, pool)
    fingerprint = remote.Predictor(bundle).encoder.fingerprint
    own = replace(own, fingerprint=fingerprint)
    predictor = load_predictor(SHIPPED_BUNDLE, pool)
    assert isinstance(predictor.encoder, RemoteEncoder)
    assert predictor.encoder.fingerprint == fingerprint
    assert predictor.sha256 == bundle.sha256


def test_a_bundle_for_stored_features_takes_the_encoder_that_the_replicas_run(tmp_path):
    made = make_bundle()
    entry = {"kind": "features", "name": "omnivore_video_swinl"}
    made = replace(made, manifest=replace(made.manifest, encoder=entry), encoder={})
    save_bundle(made, tmp_path / "bundle")
    dim = made.manifest.model["input_size"]
    facts = replace(FACTS, name="omnivore-swinl", dim=dim)
    pool = pool_of(Replies())
    pool.describe = lambda sha256: replace(facts, sha256=sha256)
    assert load_predictor(tmp_path / "bundle", pool).encoder.name == "omnivore-swinl"
    facts = replace(facts, name="slowfast-r101")
    with pytest.raises(FeatureMismatch, match="omnivore_video_swinl"):
        load_predictor(tmp_path / "bundle", pool)


def test_whole_frames_are_prepared_where_they_are_decoded():
    class Halving:
        def prepare(self, frames):
            return frames[:, ::2]

    facts = replace(FACTS, contract=replace(TABLETOP, resize="library"))
    pool = EncoderPool(Replies(), shares=1, timeout_s=1)
    prepare = preparer(RemoteEncoder(pool, facts, Halving()))
    assert prepare(np.zeros((1, 4, 6, 3), np.uint8)).shape == (1, 2, 6, 3)
    with pytest.raises(TypeError, match="'fake' cannot be prepared here"):
        RemoteEncoder(pool, facts).prepare(np.zeros((1, 4, 6, 3), np.uint8))
    assert preparer(RemoteEncoder(pool, FACTS)) is None
