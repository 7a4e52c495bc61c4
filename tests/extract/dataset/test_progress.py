import random

import pytest
import tqdm

from extract.dataset import progress as module
from extract.dataset.pipeline import Progress
from extract.dataset.progress import ProgressBar
from extract.dataset.report import Entry
from extract.dataset.results import VideoDone
from extract.dataset.video_lists import Video

SIZES = {"a": 100, "b": 5000, "c": 1, "d": 700}


@pytest.fixture
def videos(tmp_path):
    for name, size in SIZES.items():
        (tmp_path / name).write_bytes(bytes(size))
    return [Video(name, tmp_path / name) for name in SIZES]


@pytest.mark.parametrize("seed", range(5))
def test_a_video_counts_by_its_size_whatever_comes_between(videos, seed, monkeypatch, capsys):
    monkeypatch.setattr(module, "tqdm", lambda **options: tqdm.tqdm(**options | {"disable": False}))
    rng = random.Random(seed)
    under_way = {video.id: [video, 0.0] for video in videos}
    with ProgressBar(videos) as bar:
        assert [video.id for video in bar.longest_first] == ["b", "d", "a", "c"]
        while under_way:
            video, share = under_way[rng.choice(sorted(under_way))]
            share = min(1.0, share + rng.randint(1, 7) / 8)
            under_way[video.id][1] = share
            if share < 1.0:
                bar.update(Progress(video, share, 3))
            else:
                del under_way[video.id]
                bar.update(VideoDone(video, Entry("written", str(video.path), 10)))
            done = sum(SIZES[v.id] for v in videos if v.id not in under_way)
            expected = done + sum(SIZES[v.id] * share for v, share in under_way.values())
            assert bar._bar.n == pytest.approx(expected)
            assert bar._bar.desc.startswith(f"{len(videos) - len(under_way)}/4 videos, ")
    assert "100%" in capsys.readouterr().err


def test_a_file_that_is_gone_counts_a_little_and_stops_nothing(tmp_path):
    gone = [Video("gone", tmp_path / "gone.mp4"), Video("wrong", tmp_path / "a\0b")]
    with ProgressBar(gone) as bar:
        for video in gone:
            bar.update(VideoDone(video, Entry("failed", str(video.path), 0)))
