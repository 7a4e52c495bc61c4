"""A world rendered straight to features, beside the same world as videos."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from extract.encoders.load import load_named_encoder
from extract.features.extractor import Extractor
from extract.features.store import FeatureStore
from model.errors import SettingInvalid
from model.train.__main__ import main as train
from model.train.datasets import rendered as rendered_world
from model.train.datasets.rendered import FEATURES, WORLD, render_world
from model.train.datasets.tabletop import prepare_world
from tabletop.errors import WorldMismatch
from tabletop.files.world import read_config, write_video, write_world
from tabletop.story.script import SMOKE, WorldConfig, write_script
from weights import SHIPPED_BUNDLE

pytestmark = pytest.mark.slow

CONFIG = replace(SMOKE, train_videos=1, actions_per_video=(2, 2))
"""The smoke test's world, shortened: its frames are larger than the encoder's."""


def render(out, config=CONFIG, *, jobs=1):
    seen = []
    render_world(out, config, SHIPPED_BUNDLE, jobs=jobs, progress=lambda *state: seen.append(state))
    return seen


def tracks_of(out):
    return {path.name: path.read_bytes() for path in (out / FEATURES).iterdir()}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    out = tmp_path_factory.mktemp("rendered")
    assert render(out) == [(0, 3), (1, 3), (2, 3), (3, 3)]
    return out


def test_a_track_is_that_of_the_video_but_for_what_the_codec_changes(rendered, tmp_path):
    """Cosine 0.992 on average here; other windows of the video are far from it."""
    script = write_script(CONFIG, "val", 0)
    video = tmp_path / f"{script.video_uid}.mp4"
    write_video(video, script, CONFIG)
    theirs = Extractor(load_named_encoder(str(SHIPPED_BUNDLE))).from_file(video)
    ours = FeatureStore(rendered / FEATURES).read(script.video_uid)
    assert torch.equal(ours.start_s, theirs.start_s)
    assert torch.equal(ours.end_s, theirs.end_s)
    for fact in ("encoder", "fps", "num_frames", "stride_frames", "origin_s", "ticks_per_s"):
        assert getattr(ours, fact) == getattr(theirs, fact)
    alike = torch.cosine_similarity(ours.features, theirs.features)
    other = torch.cosine_similarity(ours.features, theirs.features.roll(20, dims=0))
    assert alike.mean() > 0.985
    assert alike.min() > 0.97
    assert other.mean() < 0.9


def test_the_annotations_are_those_of_the_world_with_videos(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr("tabletop.files.world.write_video", lambda *_: None)
    write_world(tmp_path, CONFIG, workers=1)
    written = {p.relative_to(tmp_path): p for p in tmp_path.rglob("*.json")}
    made = rendered / WORLD
    assert {p.relative_to(made) for p in made.rglob("*") if p.is_file()} == set(written)
    for name, path in written.items():
        assert (made / name).read_bytes() == path.read_bytes()


def test_a_world_without_videos_is_read_as_any_other(rendered):
    prepared = prepare_world(rendered / WORLD, SHIPPED_BUNDLE, rendered / FEATURES)
    actions = {split: len(tasks["ar"]) for split, tasks in prepared.samples.items()}
    assert actions == {"train": 2, "val": 2, "test": 2}


def test_what_is_there_is_kept_and_what_is_missing_made_alike(rendered):
    before = tracks_of(rendered)
    lost, kept = sorted((rendered / FEATURES).iterdir())[:2]
    lost.unlink()
    (rendered / FEATURES / f".{lost.name}.abc.tmp").write_bytes(b"half a track")
    made_ns = kept.stat().st_mtime_ns
    assert render(rendered) == [(2, 3), (3, 3)]
    assert kept.stat().st_mtime_ns == made_ns
    assert {n: b for n, b in tracks_of(rendered).items() if n in before} == before


def test_features_do_not_depend_on_the_number_of_processes(rendered, tmp_path):
    render(tmp_path, jobs=2)
    ours, theirs = tracks_of(tmp_path), tracks_of(rendered)
    assert ours == {name: theirs[name] for name in ours}


def test_a_folder_of_another_world_is_refused(rendered):
    with pytest.raises(WorldMismatch, match="another world"):
        render(rendered, replace(CONFIG, seed=1))


def test_an_encoder_of_another_frame_rate_is_refused(tmp_path):
    with pytest.raises(SettingInvalid, match=r"takes 30 frames a second, the world has 25"):
        render(tmp_path, replace(CONFIG, fps=25))
    assert not any(tmp_path.iterdir())


def test_the_command_draws_in_twice_the_size_of_the_crop_and_says_how_to_go_on(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(
        rendered_world, "WorldConfig", partial(WorldConfig, actions_per_video=(1, 1))
    )
    counts = [f"--{split}-videos=1" for split in ("train", "val", "test")]
    assert train(["render", "--out", str(tmp_path), "--seed", "4", "--jobs", "1", *counts]) == 0
    assert capsys.readouterr().out.split() == [
        "--data", str(tmp_path / WORLD), "--features", str(tmp_path / FEATURES)
    ]  # fmt: skip
    config = read_config(tmp_path / WORLD)
    assert (config.width, config.height, config.seed) == (256, 192, 4)


def test_the_command_refuses_a_folder_of_another_world(rendered, capsys):
    assert train(["render", "--out", str(rendered), "--train-videos", "1"]) == 2
    assert "another world" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train(["render", "--out", str(rendered), "--test-videos", "0"])
    assert "--test-videos: expected at least 1, got 0" in capsys.readouterr().err
