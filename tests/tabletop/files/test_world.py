import dataclasses
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tabletop.errors import WorldMismatch
from tabletop.files import world as write
from tabletop.files.world import read_config, write_world
from tabletop.story.script import write_script


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_the_layout_is_that_of_an_ego4d_download(tiny_world):
    names = {path.name for path in (tiny_world / "v1" / "annotations").iterdir()}
    assert names == {
        "fho_lta_taxonomy.json",
        *(f"fho_{task}_{split}.json" for task in ("lta", "oscc-pnr")
          for split in ("train", "val", "test_unannotated")),
    }  # fmt: skip
    videos = {path.stem for path in (tiny_world / "v1" / "full_scale").glob("*.mp4")}
    assert videos == {video["video_uid"] for video in read(tiny_world / "v1/ego4d.json")["videos"]}


def test_no_test_label_leaves_the_hidden_folder(tiny_world):
    shown = tiny_world / "v1" / "annotations"
    for entry in read(shown / "fho_lta_test_unannotated.json")["clips"]:
        assert not {"verb", "noun", "verb_label", "noun_label"} & set(entry)
    for entry in read(shown / "fho_oscc-pnr_test_unannotated.json")["clips"]:
        assert not any("pnr" in key or "change" in key for key in entry)
    for task in ("lta", "oscc-pnr"):
        truth = read(tiny_world / "hidden" / f"fho_{task}_test.json")["clips"]
        public = read(shown / f"fho_{task}_test_unannotated.json")["clips"]
        assert [
            {key: entry[key] for key in seen} for entry, seen in zip(truth, public, strict=True)
        ]
        assert all(
            {key: entry[key] for key in seen} == seen
            for entry, seen in zip(truth, public, strict=True)
        )
        assert not (shown / f"fho_{task}_test.json").exists()


def test_a_video_has_the_declared_frames_at_thirty_a_second_from_time_zero(tiny_world):
    for video in read(tiny_world / "v1/ego4d.json")["videos"]:
        with av.open(str(tiny_world / "v1/full_scale" / f"{video['video_uid']}.mp4")) as container:
            stream = container.streams.video[0]
            times = [frame.time for frame in container.decode(stream)]
            assert stream.average_rate == 30
            assert stream.codec_context.name == "h264"
        assert len(times) == video["video_metadata"]["num_frames"]
        assert times == pytest.approx(np.arange(len(times)) / 30, abs=1e-4)
        assert video["duration_sec"] == pytest.approx(len(times) / 30)


def test_writing_again_keeps_what_is_finished(tiny_world, tiny_config, monkeypatch):
    monkeypatch.setattr(write, "write_video", pytest.fail)
    seen = []
    before = read(tiny_world / "v1/annotations/fho_lta_train.json")
    write_world(tiny_world, tiny_config, workers=1, progress=lambda *state: seen.append(state))
    assert seen == [(3, 3)]
    assert read(tiny_world / "v1/annotations/fho_lta_train.json") == before


@pytest.mark.slow
def test_interrupted_writing_leaves_no_half_video_and_resumes(tmp_path, tiny_config, monkeypatch):
    config = dataclasses.replace(tiny_config, actions_per_video=(1, 1))
    encode, calls = write.encode_video, []

    def stop_at_second(path, frames, config):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half a video")
            raise KeyboardInterrupt
        encode(path, frames, config)

    with monkeypatch.context() as patch:
        patch.setattr(write, "encode_video", stop_at_second)
        with pytest.raises(KeyboardInterrupt):
            write_world(tmp_path, config, workers=1)
    folder = tmp_path / "v1" / "full_scale"
    assert len(list(folder.iterdir())) == 1
    assert not (tmp_path / "v1" / "annotations").exists()
    (folder / ".killed.1.partial").write_bytes(b"left by a killed run")
    states = []
    write_world(tmp_path, config, workers=2, progress=lambda *state: states.append(state))
    assert states == [(1, 3), (2, 3), (3, 3)]
    assert len(list(folder.iterdir())) == 3


def test_a_folder_of_another_config_is_refused(tiny_world, tiny_config):
    other = dataclasses.replace(tiny_config, seed=99)
    with pytest.raises(WorldMismatch, match="holds another world"):
        write_world(tiny_world, other, workers=1)


def test_a_video_of_another_config_is_refused(tmp_path, tiny_world, tiny_config):
    config = dataclasses.replace(tiny_config, actions_per_video=(1, 1))
    uid = write_script(config, "train", 0).video_uid
    folder = tmp_path / "v1" / "full_scale"
    folder.mkdir(parents=True)
    stranger = next((tiny_world / "v1" / "full_scale").glob("*.mp4"))
    (folder / f"{uid}.mp4").write_bytes(stranger.read_bytes())
    with pytest.raises(WorldMismatch, match="another config"):
        write_world(tmp_path, config, workers=1)
    (folder / f"{uid}.mp4").write_bytes(b"not a video")
    with pytest.raises(WorldMismatch, match="not a video of this world"):
        write_world(tmp_path, config, workers=1)


def test_the_config_of_a_world_is_read_from_its_folder(tiny_world, tiny_config, tmp_path):
    assert read_config(tiny_world) == tiny_config
    with pytest.raises(WorldMismatch, match=r"there is no world\.json"):
        read_config(tmp_path)
    old = {**read(tiny_world / "world.json"), "version": 1}
    (tmp_path / "world.json").write_text(json.dumps(old))
    with pytest.raises(WorldMismatch, match="a world of version 1, expected 2"):
        write_world(tmp_path, tiny_config, workers=1)
