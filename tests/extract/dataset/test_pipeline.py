import os
import signal
from pathlib import Path

import pytest
import torch

from extract.dataset import pipeline as dataset
from extract.dataset.pipeline import Outcome, Progress, extract_videos
from extract.dataset.video_lists import Video
from extract.errors import DecoderDied, DecodeTimeout, VideoRejected
from extract.features.extractor import Extractor
from extract.sandbox.cpu_time import CpuTime
from tests.extract.support.clips import write_numbered

LONG = 800  # frames: more than a process decodes ahead


@pytest.fixture
def videos(tmp_path):
    counts = {"a": 40, "b": LONG, "c": 33, "d": 1}
    return [Video(k, write_numbered(tmp_path / f"{k}.mp4", n)) for k, n in counts.items()]


def outcomes(news):
    return {one.video.id: one for one in news if isinstance(one, Outcome)}


def decoders():
    """Ids of the decoding processes that are children of this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
            command = (path / "cmdline").read_text()
        except OSError:
            continue
        if int(parent) == os.getpid() and "extract.sandbox.worker" in command:
            found.append(int(path.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_features_are_those_of_each_video_alone(videos, tiny_encoder, workers):
    found = outcomes(extract_videos(videos, tiny_encoder, workers=workers, batch_windows=5))
    alone = Extractor(tiny_encoder, batch_windows=5)
    for video in videos:
        expected = alone.from_file(video.path)
        track = found[video.id].track
        assert torch.equal(track.features, expected.features)
        assert (track.num_frames, track.video_id) == (expected.num_frames, video.id)
    assert decoders() == []


@pytest.mark.slow
def test_progress_never_goes_back_and_ends_whole(videos, tiny_encoder):
    shares, windows = [], []
    for news in extract_videos(videos[1:2], tiny_encoder, workers=1, batch_windows=2):
        if isinstance(news, Progress):
            shares.append(news.share)
            windows.append(news.num_windows)
    assert shares == sorted(shares)
    assert windows == sorted(windows)
    assert 0.0 < shares[-1] <= 1.0
    assert len(set(shares)) > 2


def test_bad_videos_cost_themselves_alone(videos, tiny_encoder, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    bad, gone = Video("bad", tmp_path / "bad.mp4"), Video("gone", tmp_path / "gone.mp4")
    mixed = [videos[0], bad, gone, videos[2]]
    found = outcomes(extract_videos(mixed, tiny_encoder, workers=1))
    assert found["bad"].error.code == "not-a-video"
    assert isinstance(found["gone"].error, FileNotFoundError)
    assert [k for k, one in found.items() if one.track is not None] == ["a", "c"]


def test_a_decoder_that_is_killed_costs_its_video_alone(videos, tiny_encoder):
    found, killed = {}, []
    for news in extract_videos(videos, tiny_encoder, workers=1):
        if isinstance(news, Outcome):
            found[news.video.id] = news
        elif news.video.id == "b" and not killed:
            killed = decoders()
            os.kill(killed[0], signal.SIGKILL)
    assert len(killed) == 1
    assert isinstance(found["b"].error, DecoderDied)
    assert {k for k, one in found.items() if one.track is not None} == {"a", "c", "d"}


@pytest.mark.slow
@pytest.mark.parametrize("had_the_cpu", [False, True])
def test_a_decoder_that_hangs_is_given_up(videos, tiny_encoder, monkeypatch, had_the_cpu):
    """If it had the CPU meanwhile, the video is at fault."""
    monkeypatch.setattr(CpuTime, "is_used_up", lambda self, cpu_s: had_the_cpu)
    found, stopped = {}, []
    for news in extract_videos(videos, tiny_encoder, workers=1):
        if isinstance(news, Outcome):
            found[news.video.id] = news
            monkeypatch.setattr(dataset, "_STALL_S", 60.0)
        elif news.video.id == "b" and not stopped:
            stopped = decoders()
            os.kill(stopped[0], signal.SIGSTOP)
            monkeypatch.setattr(dataset, "_STALL_S", 0.2)
    error = found["b"].error
    assert error.code == "too-slow-for-job" if had_the_cpu else isinstance(error, DecodeTimeout)
    assert {k for k, one in found.items() if one.track is not None} == {"a", "c", "d"}


def test_a_picture_that_changes_size_is_the_videos_own_fault(tiny_encoder, monkeypatch, videos):
    def refuse(self, block):
        raise VideoRejected("damaged", "the size of the picture changes on the way")

    monkeypatch.setattr(dataset.TrackBuilder, "append", refuse)
    found = outcomes(extract_videos(videos[:2], tiny_encoder, workers=1))
    assert [one.error.code for one in found.values()] == ["damaged", "damaged"]


def test_an_error_of_the_encoder_ends_the_run_and_its_processes(videos, tiny_encoder, monkeypatch):
    def fail(windows):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(tiny_encoder, "encode", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(extract_videos(videos, tiny_encoder, workers=2))
    assert decoders() == []


def test_a_run_that_is_stopped_drops_what_is_under_way(videos, tiny_encoder):
    seen = []
    news = extract_videos(videos[1:], tiny_encoder, workers=1, is_stopped=lambda: len(seen) >= 2)
    for one in news:
        seen.append(one)
    assert len(seen) == 2
    assert decoders() == []
