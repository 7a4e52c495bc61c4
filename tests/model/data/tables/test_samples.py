"""Samples of a table, row by row against a plain loop over its rows."""

import torch

from extract.features.track import EncoderId
from model.data.samples import Tracks
from model.data.tables.samples import prototype_samples, row_frames, table_samples
from model.data.tables.tasks import tasks_of
from model.tasks import IGNORE
from tests.model.support.tables import table_of
from tests.support.factories import make_track

ROWS = [(v, 2.0 * t, 2.0 * t + 1.5, f"v{t % 3}", f"n{t % 4}" if t % 5 else None, f"h{t % 2}")
        for v in ("a", "b", "c") for t in range(24)]  # fmt: skip
TABLE = table_of(
    *ROWS, outputs=("verb", "noun", "hand"), split={"a": "train", "b": "val", "c": "train"}
)
LABELS = {name: TABLE.names(name) for name in TABLE.outputs}
TRACKS = [make_track(1440, seed=s, video_id=v) for s, v in enumerate("abc")]


def made(split, labels=LABELS):
    frames = row_frames(TABLE, TRACKS)
    specs = tasks_of(TABLE).specs
    return table_samples(TABLE, split, specs, labels, frames, Tracks.join(TRACKS))


def test_a_row_is_a_sample_among_its_neighbours_in_the_video():
    found = made("train")
    assert list(found) == ["ar", "lta", "hand"]
    ar = found["ar"]
    assert len(ar) == 48
    for place, video in ((0, "a"), (30, "c")):
        own = [row for row in ROWS if row[0] == video]
        at = place % 24
        around = [own[min(max(at + step, 0), 23)] for step in range(-4, 5)]
        bounds = [[round(30 * start), round(30 * end)] for _, start, end, *_ in around]
        assert ar.segments[place].tolist() == bounds
        for column, name in enumerate(("verb", "noun", "hand"), start=3):
            samples = found["hand" if name == "hand" else "ar"]
            label = own[at][column]
            expected = IGNORE if label is None else LABELS[name].index(label)
            assert samples.labels[name][place].item() == expected


def test_a_forecast_slides_over_each_video():
    lta = made("val")["lta"]
    assert len(lta) == 24 - 22 + 1
    own = [row for row in ROWS if row[0] == "b"]
    for first in range(3):
        verbs = [LABELS["verb"].index(row[3]) for row in own[first + 2 : first + 22]]
        assert lta.labels["verb"][first].tolist() == verbs


def test_labels_without_an_id_are_not_known():
    fewer = {**LABELS, "hand": ["h1"]}
    assert len(made("val", fewer)["hand"]) == 12


def test_rows_of_the_backpack_have_the_labels_that_are_named():
    frames, tracks = row_frames(TABLE, TRACKS), Tracks.join(TRACKS)
    samples = prototype_samples(TABLE, ("hand", "noun", "verb"), LABELS, frames, tracks)
    assert len(samples) == 48
    assert samples.spec.outputs == ("hand", "noun", "verb")
    rows = [row for row in ROWS if row[0] != "b"]
    assert samples.labels["hand"][:, 0].tolist() == [LABELS["hand"].index(row[5]) for row in rows]
    assert samples.labels["noun"][5].item() == IGNORE


def test_bounds_are_on_the_clock_of_the_features():
    encoder = EncoderId("fake", "f" * 64)
    late = make_track(1440, video_id="b", encoder=encoder)
    object.__setattr__(late, "origin_s", 0.5)
    frames = row_frames(TABLE, [late])
    assert frames[24].tolist() == [0, 30]
    assert frames[25].tolist() == [45, 90]
    assert torch.equal(frames[:2], torch.tensor([[0, 45], [60, 105]]))
