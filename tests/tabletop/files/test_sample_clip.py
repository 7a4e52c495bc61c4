import json

import av
import numpy as np
import pytest

from tabletop.files import sample_clip


def pictures(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.slow
def test_the_sample_is_a_stretch_of_the_test_video_with_its_hidden_truth(
    tiny_world, tiny_config, tmp_path, monkeypatch
):
    monkeypatch.setattr(sample_clip, "FUTURE", 1)  # the tiny world's videos hold three actions
    sample_clip.write_sample(tiny_world, tiny_config, tmp_path)
    truth = json.loads((tmp_path / "truth.json").read_text())
    hidden = json.loads((tiny_world / "hidden" / "fho_lta_test.json").read_text())["clips"]
    acted = next(entry for entry in hidden if entry["action_idx"] == 1)
    after = next(entry for entry in hidden if entry["action_idx"] == 2)
    assert truth["ar"] == {name: acted[name] for name in ("verb", "noun")}
    assert truth["lta"] == [{name: after[name] for name in ("verb", "noun")}]
    assert truth["oscc"] == {"state_change": True}
    begin, end = truth["segment"]
    assert begin < truth["pnr"]["time_s"] < end
    length = acted["action_clip_end_sec"] - acted["action_clip_start_sec"]
    assert end - begin == pytest.approx(length)

    words = truth["source"].split()
    first, last = int(words[-3]), int(words[-1])
    video = tiny_world / "v1" / "full_scale" / f"{acted['video_uid']}.mp4"
    shown, whole = pictures(tmp_path / "clip.mp4"), pictures(video)
    assert len(shown) == last - first
    off_by = {
        shift: np.mean(np.abs(np.subtract(shown, whole[first + shift : last + shift], dtype=float)))
        for shift in (-1, 0, 1)
    }
    assert off_by[0] == min(off_by.values()) < 5  # encoded once more, but the same pictures
