"""A LeRobot data set gets sub-tasks: an answer an episode, a row a frame, videos as they were."""

import json
from contextlib import contextmanager
from dataclasses import replace

import av
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from clients.__main__ import EXIT_USAGE, main
from clients.errors import BadClip, NeedsJob
from clients.lerobot import LeRobotDataset, cut, segments_of
from clients.results.predictions import PredictionResult
from tests.clients.support.live import RESULT
from tests.extract.support.clips import noisy_frames, write_clip

FPS, LENGTHS = 10, (25, 42, 13)
CAMERA = "observation.images.top"
FRAMES = noisy_frames(sum(LENGTHS), 64, 48)


def frames_of(path):
    with av.open(str(path)) as read:
        return [frame.to_ndarray(format="rgb24") for frame in read.decode(video=0)]


@pytest.fixture
def root(tmp_path):
    """Three episodes in one video, as LeRobot v3 lays them out."""
    root = tmp_path / "robot"
    features = {CAMERA: {"dtype": "video", "shape": [48, 64, 3]},
                "observation.state": {"dtype": "float32", "shape": [2]}}  # fmt: skip
    info = {
        "codebase_version": "v3.0", "fps": FPS, "total_episodes": 3, "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }  # fmt: skip
    for folder in ("meta/episodes/chunk-000", "data/chunk-000", f"videos/{CAMERA}/chunk-000"):
        (root / folder).mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    ends = np.cumsum(LENGTHS)
    episodes = [
        {
            "episode_index": index, "length": LENGTHS[index],
            f"videos/{CAMERA}/chunk_index": 0, f"videos/{CAMERA}/file_index": 0,
            f"videos/{CAMERA}/from_timestamp": float(end - LENGTHS[index]) / FPS,
            f"videos/{CAMERA}/to_timestamp": float(end) / FPS,
        }
        for index, end in enumerate(ends)
    ]  # fmt: skip
    rows = [
        {"episode_index": index, "frame_index": n, "timestamp": n / FPS,
         "observation.state": [float(n), 0.0]}
        for index, length in enumerate(LENGTHS)
        for n in range(length)
    ]  # fmt: skip
    write = pyarrow.parquet.write_table
    write(
        pyarrow.Table.from_pylist(episodes[::-1]),
        root / "meta/episodes/chunk-000/file-000.parquet",
    )
    write(pyarrow.Table.from_pylist(rows), root / "data/chunk-000/file-000.parquet")
    write_clip(
        root / f"videos/{CAMERA}/chunk-000/file-000.mp4",
        FRAMES,
        rate=FPS,
        options={"g": "2", "bf": "0"},
    )
    return root


class Client:
    """Answers "take cup" and "put cup" in turn, whatever it sees."""

    def __init__(self):
        self.asked, self.refuses = [], {}

    def predict(self, clip, *, tasks, segments):
        assert tasks == ["ar"]
        self.asked.append((clip.name, frames_of(clip), segments))
        if error := self.refuses.get(clip.name):
            raise error
        return self.answer(segments)

    def answer(self, segments):
        whole = PredictionResult.from_dict(RESULT)
        ranked = whole.segments[0].ar.verb[0]
        action = lambda verb: replace(  # noqa: E731
            whole.segments[0].ar,
            verb=[replace(ranked, label=verb)],
            noun=[replace(ranked, label="cup")],
        )
        found = [
            replace(whole.segments[0], start_s=a, end_s=b, ar=action(("take", "put")[k % 2]))
            for k, (a, b) in enumerate(segments)
        ]
        return replace(whole, segments=found)

    def submit(self, clip, *, tasks, segments):
        self.submitted = segments
        return type("Job", (), {"id": "j"})()

    def wait(self, job):
        assert job == "j"

    def result(self, job):
        return self.answer(self.submitted)


@pytest.fixture
def client(monkeypatch):
    @contextmanager
    def connect(url):
        yield client

    client = Client()
    monkeypatch.setattr("clients.commands.arguments.connect", connect)
    return client


def label(root, out, *words):
    return main(["lerobot", str(root), "--out", str(out), *words])


def rows_of(out):
    names = pandas.read_parquet(out / "meta/subtasks.parquet")
    assert names.index.name == "subtask"
    rows = pandas.read_parquet(out / "data/chunk-000/file-000.parquet")
    name_of = {index: name for name, index in names["subtask_index"].items()}
    return [name_of.get(index) for index in rows["subtask_index"]], rows


def test_every_episode_is_seen_alone_and_every_row_labelled(root, tmp_path, client):
    out = tmp_path / "out"
    assert label(root, out, "--segment-s", "1") == 0
    starts = np.cumsum([0, *LENGTHS])
    source = frames_of(root / f"videos/{CAMERA}/chunk-000/file-000.mp4")
    for k, (name, frames, segments) in enumerate(client.asked):
        assert name == f"episode_{k:06d}.mkv"
        own = source[starts[k] : starts[k + 1]]
        before = round(segments[0][0] * FPS)  # a picture that the first one is decoded from
        assert before <= 1
        assert np.array_equal(frames[before : before + len(own)], own)
        assert segments[-1][1] - segments[0][0] == pytest.approx(LENGTHS[k] / FPS)
    labels, rows = rows_of(out)
    expected = []
    for length in LENGTHS:
        count = max(1, int(length / FPS + 0.5))
        expected += [("take cup", "put cup")[min(n // FPS, count - 1) % 2] for n in range(length)]
    assert labels == expected
    before = pandas.read_parquet(root / "data/chunk-000/file-000.parquet")
    pandas.testing.assert_frame_equal(rows.drop(columns="subtask_index"), before)
    info = json.loads((out / "meta/info.json").read_text())
    assert info["features"]["subtask_index"] == {"dtype": "int64", "shape": [1], "names": None}
    video = f"videos/{CAMERA}/chunk-000/file-000.mp4"
    assert (out / video).samefile(root / video)


def test_a_second_run_asks_only_what_is_missing_and_writes_the_same(root, tmp_path, client, capsys):
    out = tmp_path / "out"
    client.refuses["episode_000001.mkv"] = BadClip("no picture")
    assert label(root, out) == 3
    assert "episode 1: no picture" in capsys.readouterr().err
    labels, _ = rows_of(out)
    assert labels[LENGTHS[0] : LENGTHS[0] + LENGTHS[1]] == [None] * LENGTHS[1]
    client.refuses.clear()
    client.asked.clear()
    assert label(root, out) == 0
    assert [name for name, *_ in client.asked] == ["episode_000001.mkv"]
    first = {p: p.read_bytes() for p in out.rglob("*.parquet")}
    assert label(root, out) == 0
    assert first == {p: p.read_bytes() for p in out.rglob("*.parquet")}
    assert LeRobotDataset(out).camera == CAMERA  # is one itself, to be labelled again
    assert label(out, tmp_path / "again") == 0


def test_a_long_episode_becomes_a_job(root, tmp_path, client):
    client.refuses["episode_000002.mkv"] = NeedsJob("too long")
    assert label(root, tmp_path / "out") == 0
    assert client.submitted == client.asked[-1][2]


@pytest.mark.parametrize(
    ("length_s", "expected"),
    [(0.4, [(0, 0.4)]), (2.0, [(0, 2)]), (2.9, [(0, 2.9)]), (3.1, [(0, 2), (2, 3.1)])],
)
def test_a_short_rest_belongs_to_the_last_segment(root, length_s, expected):
    episode = replace(LeRobotDataset(root).episodes()[0], start_s=5.0, end_s=5.0 + length_s)
    found = segments_of(episode, 0.5, 2.0)
    assert found == [pytest.approx((a + 0.5, b + 0.5)) for a, b in expected]


def test_what_cannot_be_labelled_is_said(root, tmp_path, client, capsys):
    episode = replace(LeRobotDataset(root).episodes()[0], video=tmp_path / "none.mp4")
    with pytest.raises(OSError, match=r"none\.mp4 cannot be read"):
        cut(episode, tmp_path / "a.mkv")
    assert label(root, root) == EXIT_USAGE
    assert "--out is the data set itself" in capsys.readouterr().err
    assert label(root, tmp_path / "o", "--camera", "wrist") == EXIT_USAGE
    assert f"--camera: {CAMERA}" in capsys.readouterr().err
    info = root / "meta/info.json"
    info.write_text(info.read_text().replace("v3.0", "v2.1"))
    assert label(root, tmp_path / "o") == EXIT_USAGE
    assert "is of version v2.1" in capsys.readouterr().err
    info.write_text("{}")
    assert label(root, tmp_path / "o") == EXIT_USAGE
    assert "info.json is not LeRobot's" in capsys.readouterr().err
