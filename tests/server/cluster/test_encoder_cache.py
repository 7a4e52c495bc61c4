"""What an encoder process answers: each item for itself, each for the bundle it names."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from server.cluster.encoder_cache import EncoderCache, Item, cost_of
from server.cluster.messages import Encoded, Failed
from tests.server.support.fakes import CONTRACT

NEVER = pytest.fail


class Grey:
    """A feature is the mean grey level times a factor; 13 is bad luck, 200 does not fit."""

    name, dim, contract = "grey", 1, CONTRACT

    def __init__(self, factor=1.0):
        self.factor = factor
        self.fingerprint = f"grey-{factor}"
        self.calls = []

    def encode(self, windows):
        self.calls.append(len(windows))
        level = windows.float().mean(dim=(1, 2, 3, 4))
        if (level == 13).any():
            raise ValueError("bad luck")
        if (level == 200).any() and len(windows) > 1:
            raise torch.OutOfMemoryError("too large")
        return level[:, None] * self.factor


def bundle(sha256, encoder):
    return SimpleNamespace(sha256=sha256, encoder=encoder)


def item(*levels, sha256="one", size=4):
    frames = np.stack([np.full((size, size, 3), level, np.uint8) for level in levels])
    frames.flags.writeable = False  # as what comes through shared memory
    places = np.repeat(np.arange(len(levels))[:, None], 32, axis=1)
    return Item(frames, places, sha256, len(levels))


def run(encoders, *items, max_windows=64, on_out_of_memory=NEVER):
    return encoders.run(items, max_windows=max_windows, on_out_of_memory=on_out_of_memory)


@pytest.fixture
def grey():
    return Grey()


@pytest.fixture
def encoders(grey):
    made = EncoderCache()
    made.add(bundle("one", grey))
    grey.calls.clear()
    return made


def rows(answer):
    assert isinstance(answer, Encoded), answer
    return answer.rows.flatten().tolist()


def test_items_share_a_call_and_get_their_own_rows(encoders, grey):
    answers = run(encoders, item(1, 2), item(3), item(4, 5, 6))
    assert [rows(answer) for answer in answers] == [[1, 2], [3], [4, 5, 6]]
    assert grey.calls == [6]
    assert {(answer.sha256, answer.fingerprint) for answer in answers} == {("one", "grey-1.0")}


def test_frames_of_other_sizes_go_apart(encoders, grey):
    answers = run(encoders, item(1), item(2, size=8), item(3))
    assert [rows(answer) for answer in answers] == [[1], [2], [3]]
    assert sorted(grey.calls) == [1, 2]


def test_an_item_that_fails_costs_its_batch_mates_nothing(encoders):
    first, bad, last = run(encoders, item(1), item(13), item(3))
    assert (rows(first), rows(last)) == ([1], [3])
    assert bad.why == "fault"
    assert "bad luck" in bad.detail


def test_a_batch_that_does_not_fit_goes_in_halves_and_a_half_that_does_not_says_so(encoders):
    told = []
    answers = run(encoders, item(200), item(200), on_out_of_memory=lambda: told.append(1))
    assert [rows(answer) for answer in answers] == [[200], [200]]
    assert told == [1]
    lone, four = run(encoders, item(1), item(200, 200, 200, 200), on_out_of_memory=lambda: None)
    assert rows(lone) == [1]
    assert four.why == "out-of-memory"


def test_an_item_dearer_than_a_batch_goes_in_several_calls(encoders, grey):
    (answer,) = run(encoders, item(*range(7)), max_windows=3)
    assert rows(answer) == list(range(7))
    assert grey.calls == [3, 3, 1]


def test_each_item_is_encoded_for_the_bundle_it_names(encoders):
    encoders.add(bundle("two", Grey(2.0)))
    old, new, unknown = run(encoders, item(5), item(5, sha256="two"), item(5, sha256="three"))
    assert (rows(old), rows(new)) == ([5], [10])
    assert isinstance(unknown, Failed)
    assert unknown.why == "other-bundle"
    assert encoders.facts("two").fingerprint == "grey-2.0"


def test_the_bundle_before_the_last_one_goes(encoders):
    for sha256 in ("two", "three"):
        encoders.add(bundle(sha256, Grey()))
    assert encoders.facts("one").why == "other-bundle"
    assert encoders.facts("two").sha256 == "two"


def test_the_same_bundle_again_pushes_none_out(encoders):
    encoders.add(bundle("two", Grey()))
    encoders.add(bundle("two", Grey()))
    assert encoders.facts("one").sha256 == "one"


def test_an_encoder_whose_answer_is_no_number_never_serves(encoders):
    with pytest.raises(RuntimeError, match="no finite row"):
        encoders.add(bundle("two", Grey(float("nan"))))
    assert encoders.facts("two").why == "other-bundle"
    assert rows(run(encoders, item(1))[0]) == [1]


def test_an_encoder_that_answers_otherwise_than_before_is_found_out(encoders, grey):
    encoders.prove()
    grey.factor = 1.5
    with pytest.raises(RuntimeError, match="differently"):
        encoders.prove()


def test_a_batch_costs_its_windows():
    assert cost_of([item(1, 2), item(3)]) == 3
