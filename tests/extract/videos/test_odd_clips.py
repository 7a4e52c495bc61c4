"""Odd files: the pictures and the times that FFmpeg shows, through every reader."""

from dataclasses import replace

import numpy as np
import pytest

from extract.decode.clip import TRUSTED, Limits
from extract.decode.demux import scan_packets
from extract.decode.pyav.picture_list import list_pictures
from extract.decode.read_plan import TOLERANCE_S
from extract.decode.sniff import sniff_file
from extract.errors import VideoRejected
from extract.sandbox.pool import DecodePool
from extract.sandbox.process import DecodeProcess
from extract.sandbox.stream import FrameStream
from tests.extract.support.decoded import EVERY, SHORT, Frames, decode
from tests.extract.support.ffmpeg_program import shown_by
from tests.extract.support.odd_clips import ODD_CLIPS, film, numbered, with_matrix

SAME = 1.5
"""Mean difference of the same picture by two builds of FFmpeg; of two pictures it is above 3."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, files = tmp_path_factory.mktemp("odd"), {}

    def make(clip):
        if clip.name not in files:
            files[clip.name] = folder / clip.name
            clip.make(files[clip.name])
        return files[clip.name]

    return make


def difference(one, other):
    return float(np.abs(one.astype(np.int16) - other).mean())


def check_pictures(clip, truth, facts, frames):
    """Each tick shows a picture that no other is nearer to in time."""
    info = facts.info
    times_s = truth.times_s if clip.times_s is None else clip.times_s
    start_s = times_s[0] if clip.start_s is None else clip.start_s
    instants = info.start_s + np.arange(len(frames)) / info.ticks_per_s
    distance = np.abs((instants - start_s)[:, None] - (times_s - times_s[0]))
    slack = 2e-3 if clip.times_s is None else 1.5 / 30
    for tick, (frame, apart) in enumerate(zip(frames, distance, strict=True)):
        near = np.flatnonzero(apart <= apart.min() + slack)
        assert min(difference(frame, truth.pictures[k]) for k in near) < SAME, (tick, near)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["auto", "pyav", "stream"])
@pytest.mark.parametrize("clip", ODD_CLIPS, ids=lambda clip: clip.name)
def test_an_odd_file_shows_what_ffmpeg_shows(clip, reader, made):
    path = made(clip)
    truth = shown_by(path, EVERY, clip.size, clip.track)
    limits = replace(SHORT, is_stream=True) if reader == "stream" else SHORT
    choice = "auto" if reader == "stream" else reader
    facts, frames = decode(path, EVERY, choice, limits, video_track=clip.asked)
    info = facts.info
    assert info.reader == ("decord" if clip.by_decord and reader == "auto" else "pyav")
    check_pictures(clip, truth, facts, frames)
    start_s = truth.times_s[0] if clip.start_s is None else clip.start_s
    end_s = clip.end_s
    if end_s is None:
        end_s = truth.end_s - truth.times_s[0] + start_s
    assert info.start_s == pytest.approx(start_s, abs=2e-3)
    assert info.start_s + info.duration_s == pytest.approx(end_s, abs=TOLERANCE_S)
    assert (info.width, info.height, info.video_track) == (*clip.size, clip.track)
    codes = [notice.code for notice in facts.notices if notice.code != "padded"]
    assert codes == list(clip.codes)


@pytest.fixture(scope="module")
def pool():
    with DecodePool(workers=1, limits=replace(Limits(), decode_wall_s=30)) as pool:
        yield pool


@pytest.fixture(scope="module")
def process():
    process = DecodeProcess(TRUSTED)
    yield process
    process.end()


@pytest.mark.slow
@pytest.mark.parametrize("clip", ODD_CLIPS, ids=lambda clip: clip.name)
def test_clips_jobs_and_extraction_decode_an_odd_file_alike(clip, pool, process, made):
    """Clips by a pool, jobs and extraction as streams; both in processes of their own."""
    facts, frames = decode(made(clip), EVERY, "pyav", video_track=clip.asked)
    one = pool.decode(made(clip), EVERY, video_track=clip.asked)
    sink = Frames()
    stream = FrameStream(
        process, made(clip), EVERY, "pyav", video_track=clip.asked, wants_facts=True
    )
    while not stream.drain_into(sink):
        pass
    assert np.array_equal(one.frames, frames)
    assert np.array_equal(np.concatenate(sink.blocks), frames)
    for found in (one, stream.facts):
        assert replace(found.info, reader="pyav") == facts.info
        assert found.notices == facts.notices
        assert np.array_equal(found.source_frames, facts.source_frames)


@pytest.mark.parametrize("clip", [c for c in ODD_CLIPS if not c.by_decord], ids=lambda c: c.name)
def test_decord_is_not_given_what_it_would_read_wrong(clip, made):
    with pytest.raises(VideoRejected) as caught:
        decode(made(clip), EVERY, "decord", SHORT, video_track=clip.asked)
    assert caught.value.code == "reader-refused"


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("hidden.webm", 1),
        ("not-coded.avi", 5),
        ("not-coded.mkv", 5),
        ("not-coded.mp4", 2),
        ("fields.mp4", 40),
        ("cut-265.mkv", 4),
        ("cut-both-265.mkv", 4),
    ],
)
def test_these_files_have_more_packets_than_pictures(name, more, made):
    """Without this, what the files above are there for might not be in them."""
    (clip,) = (clip for clip in ODD_CLIPS if clip.name == name)
    report = scan_packets(made(clip), sniff_file(made(clip)), SHORT)
    pictures = list_pictures(made(clip), report, SHORT)
    assert report.num_packets >= len(pictures.times_s) + more


def test_an_angle_that_no_picture_can_be_turned_by_is_said(tmp_path):
    path = tmp_path / "slanted.mp4"
    with_matrix(0.966, 0.259, -0.259, 0.966, 0, 0)(path)
    facts, frames = decode(path, EVERY)
    assert [notice.code for notice in facts.notices] == ["orientation-ignored"]
    assert (facts.info.rotation, facts.info.mirrored, facts.info.reader) == (0, False, "pyav")
    assert difference(frames[0], numbered(0)) < 2 * SAME


def test_the_pictures_can_be_told_apart():
    """Without this, the tests above would prove little."""
    pictures = film(256)
    apart = [difference(one, other) for one, other in zip(pictures, pictures[1:], strict=False)]
    assert min(apart) > 2 * SAME
