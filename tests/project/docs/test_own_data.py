"""The commands of the pages on one's own data run as they stand there, on made-up data."""

import pytest

from extract.features.ids import as_id
from model.evaluate.__main__ import main as evaluate
from model.predict.predictor import Predictor
from model.train.__main__ import main as train
from tests.model.support.epic_kitchens import VIDEOS, write_annotations
from tests.model.support.tables import write_table, write_tracks
from tests.project.docs.blocks import calls_in
from tests.project.docs.pages import BLOCKS
from tests.support.factories import make_bundle
from weights.bundle import load_bundle, save_bundle

ENCODER = "siglip2-b"
RUN = {"model.train": train, "model.evaluate": evaluate}
BRIEF = ("--set", "fit.epochs=1", "--set", "hidden_size=8", "--workers", "1")


def calls_of(page):
    calls = [
        call
        for block in BLOCKS
        if block.path.name == page
        for call in calls_in(block.script)
        if call.module in RUN
    ]
    assert [call.module for call in calls] == list(RUN)
    return calls


def run_as_shown(page):
    """Runs a page's training and evaluation in the working folder, with a tiny encoder there."""
    for call in calls_of(page):
        words = ["encoder" if word == ENCODER else word for word in call.arguments]
        words = ["cpu" if word == "cuda" else word for word in words]
        more = BRIEF if call.module == "model.train" else ()
        assert RUN[call.module]([*words, *more]) == 0


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_bundle(make_bundle(), tmp_path / "encoder")
    return Predictor.from_bundle(tmp_path / "encoder").encoder


@pytest.mark.slow(4)
def test_videos_and_a_spreadsheet(encoder, tmp_path, capsys):
    write_table(tmp_path / "labels.csv")
    (tmp_path / "videos").mkdir()  # with the features in place, no video is opened
    folder = f"{encoder.name}-{encoder.fingerprint[:12]}"
    write_tracks(tmp_path / "work" / "table-labels" / "features" / folder, encoder=encoder)
    run_as_shown("own-videos.md")
    assert "which-hand accuracy" in capsys.readouterr().out
    assert load_bundle(tmp_path / "work" / "table-labels" / "bundle").encoder


@pytest.mark.slow(6)
def test_epic_kitchens(encoder, tmp_path, capsys):
    write_annotations(tmp_path / "epic-kitchens-100-annotations", actions=24)
    videos = [as_id(video) for part in VIDEOS.values() for video in part]
    write_tracks(tmp_path / "work" / "epic", encoder=encoder, rows=49, videos=videos)
    run_as_shown("epic-kitchens.md")
    shown = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line[:2] == "| "]
    assert {"ar", "lta"} <= set(shown)
    assert not {"oscc", "pnr"} & set(shown)
    assert (tmp_path / "report" / "report.html").is_file()
