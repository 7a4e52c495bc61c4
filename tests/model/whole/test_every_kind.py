"""Every kind of data set, from its published layout to a bundle and the figures it can have."""

import json

import pytest

from model.data.tables.kinds import KINDS, load_table
from model.evaluate.__main__ import main as evaluate
from model.predict.predictor import Predictor
from model.train.__main__ import main as train
from tests.model.support.published_trees import FPS, ROWS, SEGMENTS, SPLIT, WRITERS
from tests.model.support.tables import write_tracks
from tests.support.factories import make_bundle
from weights.bundle import save_bundle

TASKS = {
    "goalstep": {"goal", "step", "substep", "next-step"},
    "captaincook4d": {"step", "has_errors", "next-step"},
    "egtea": {"ar", "lta", "action"},
    "cvat": {"label", "noun", "next-label"},
}
"""What each kind has beside or instead of verb and noun, which make AR and LTA."""
PROTOTYPES = {"goalstep": "step", "captaincook4d": "step", "cvat": "label"}
IN_FRAMES = ("label-studio", "cvat")


def test_every_kind_is_written():
    assert set(WRITERS) == set(KINDS)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"goalstep", "captaincook4d"}))
def test_one_activity_is_one_table_whatever_its_layout(kind, tmp_path):
    fps = FPS if kind in IN_FRAMES else None
    table = load_table(f"{kind}:{WRITERS[kind](tmp_path)}", fps=fps)
    verb = "label" if kind == "cvat" else "verb"
    names = zip(table.labels[verb], table.labels["noun"], strict=True)
    times = zip(table.start_s.tolist(), table.end_s.tolist(), strict=True)
    found = list(zip(table.video, times, names, strict=True))
    assert found == [
        (s.video, pytest.approx((s.start_s, s.end_s), abs=1e-6), s.names) for s in SEGMENTS
    ]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A bundle that has an encoder, and features of the videos by it."""
    root = tmp_path_factory.mktemp("kinds")
    save_bundle(make_bundle(), root / "encoder")
    encoder = Predictor.from_bundle(root / "encoder").encoder
    write_tracks(root / "features", encoder=encoder, videos=tuple(SPLIT), rows=ROWS)
    return root


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_figures_are_those_that_the_labels_can_have(kind, encoder, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    data = ["--data", f"{kind}:{WRITERS[kind](tmp_path / 'data')}"]
    data += ["--fps", str(FPS)] if kind in IN_FRAMES else []
    data += ["--features", str(encoder / "features")]
    learn = [
        "--encoder", str(encoder / "encoder"), "--set", "fit.epochs=1", "--set", "hidden_size=8",
        "--workers", "1", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "bundle"),
    ]  # fmt: skip
    learn += ["--prototypes", PROTOTYPES[kind]] if kind in PROTOTYPES else []
    assert train([*data, *learn]) == 0
    capsys.readouterr()
    out = tmp_path / "figures.json"
    assert evaluate([*data, "--bundle", str(tmp_path / "bundle"), "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    figures = json.loads(out.read_text())
    assert set(figures) == {"val"}
    tasks = TASKS.get(kind, {"ar", "lta"})
    assert set(figures["val"]["model"]) == tasks
    for task in tasks:
        assert f"| {task}" in printed
    assert not any(word in printed for word in ("oscc", "pnr", "paper"))
