"""Sources of live streams: pictures and pieces as they are, in their time."""

import io
import threading
import time

import av
import numpy as np
import pytest
from PIL import Image

from clients import capture
from tests.extract.support.clips import noisy_frames, write_clip


def frames_of(data):
    with av.open(io.BytesIO(data)) as read:
        return [frame.to_ndarray(format="rgb24") for frame in read.decode(video=0)]


def written(path, **options):
    return write_clip(path, noisy_frames(20, 64, 48), **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp4", {}), ("a.webm", {"codec": "libvpx"}), ("a.mkv", {"options": {"bf": "2"}})],
)
def test_a_film_goes_in_pieces_with_its_own_pictures(tmp_path, name, options):
    path = written(tmp_path / name, **options)
    pieces = list(capture.film(str(path), threading.Event(), paced=False))
    assert len(pieces) > 3
    for mine, own in zip(frames_of(b"".join(pieces)), frames_of(path.read_bytes()), strict=True):
        assert np.array_equal(mine, own)


def test_a_film_is_played_in_its_time(tmp_path):
    path = written(tmp_path / "a.mp4", rate=40)
    begun = time.monotonic()
    list(capture.film(str(path), threading.Event()))
    assert time.monotonic() - begun >= 19 / 40 - 0.01


def test_stopping_ends_every_source(tmp_path):
    path, stopped = written(tmp_path / "a.mp4", rate=1), threading.Event()
    threading.Timer(0.2, stopped.set).start()
    pieces = list(capture.film(str(path), stopped))  # 20 s in its time
    assert len(frames_of(b"".join(pieces))) < 20
    assert list(capture.pipe(io.BytesIO(b"x" * 10), stopped)) == []


def test_a_camera_of_jpeg_gives_its_pictures_as_they_are(tmp_path, monkeypatch):
    path = written(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p")
    opened = []

    def open_camera(address, mode, *, format):
        opened.append((address, format))
        return av_open(path)

    av_open = av.open
    monkeypatch.setattr(capture.sys, "platform", "linux")
    monkeypatch.setattr(capture.av, "open", open_camera)
    pictures = list(capture.camera(2, threading.Event()))
    assert opened == [("/dev/video2", "v4l2")]
    times_s = [time_s for time_s, _ in pictures]
    assert times_s == sorted(times_s)
    assert times_s[0] == 0.0
    assert len({Image.open(io.BytesIO(data)).size for _, data in pictures}) == 1
    assert len(pictures) == 20


def test_a_camera_of_other_pictures_gives_jpegs(tmp_path, monkeypatch):
    path, av_open = written(tmp_path / "a.mkv"), av.open
    monkeypatch.setattr(capture.sys, "platform", "darwin")
    monkeypatch.setattr(capture.av, "open", lambda *_, **__: av_open(path))
    pictures = list(capture.camera(0, threading.Event()))
    assert len(pictures) == 20
    assert all(Image.open(io.BytesIO(data)).format == "JPEG" for _, data in pictures)


def test_a_pipe_is_passed_on():
    data = bytes(200_000)
    assert b"".join(capture.pipe(io.BytesIO(data), threading.Event())) == data


def test_what_cannot_be_opened_is_named(tmp_path, monkeypatch):
    with pytest.raises(OSError, match=r"nowhere\.mp4 cannot be opened"):
        list(capture.film(str(tmp_path / "nowhere.mp4"), threading.Event()))
    monkeypatch.setattr(capture.sys, "platform", "plan9")
    with pytest.raises(OSError, match="cameras are not opened on plan9"):
        list(capture.camera(0, threading.Event()))
