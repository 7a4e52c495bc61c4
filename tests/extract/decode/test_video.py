import shutil
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from extract.contract import OMNIVORE
from extract.decode.clip import TRUSTED, Limits
from extract.decode.decord_reader import DecordReader, DecordTrouble
from extract.decode.demux import scan_packets
from extract.decode.video import decode_clip, decode_into
from extract.errors import VideoRejected
from tests.extract.clips import (
    noisy_frames,
    png_bytes,
    read_number,
    write_audio_only,
    write_clip,
    write_numbered,
)
from tests.extract.decoded import EVERY, Frames, decode


def streamed(path):
    """Frames as PyAV gives them."""
    return decode(path, EVERY, "pyav", Limits())[1]


def numbers(frames):
    return [read_number(frame) for frame in frames]


def codes(clip):
    return [notice.code for notice in clip.notices]


def rejection(path, contract=EVERY, limits=Limits()):  # noqa: B008
    with pytest.raises(VideoRejected) as caught:
        decode_clip(path, contract, limits)
    return caught.value.code


def test_a_plain_clip_gives_every_frame_once_in_order_and_its_facts(clips):
    clip = decode_clip(clips / "plain.mp4", EVERY, Limits())

    assert numbers(clip.frames) == list(range(100))
    assert clip.frames.shape == (100, 96, 128, 3)
    assert clip.source_frames.tolist() == list(range(100))
    np.testing.assert_allclose(clip.source_times_s, np.arange(100) / 30, atol=1e-6)
    assert clip.notices == ()
    info = clip.info
    assert (info.width, info.height, info.rotation) == (64, 48, 0)
    assert (info.codec, info.container, info.reader) == ("h264", "mp4", "decord")
    assert (info.frames_declared, info.frames_decoded, info.fps) == (100, 100, 30.0)
    assert info.duration_s == pytest.approx(100 / 30)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mov", {}),
        ("a.mkv", {}),
        ("a.avi", {"codec": "mpeg4"}),
        ("b-frames.avi", {"options": {"bf": "3"}}),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}}),
        ("vp8.webm", {"codec": "libvpx", "options": {"deadline": "realtime"}}),
        ("motion.mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("hevc.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}),
        ("ten-bit.mp4", {"pix_fmt": "yuv420p10le"}),
        ("av1.mp4", {"codec": "libsvtav1", "options": {"preset": "12"}}),
        ("fragmented.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    ],
)
def test_every_accepted_format_gives_the_right_frames(tmp_path, name, options):
    if options.get("codec") == "libsvtav1" and "libsvtav1" not in av.codecs_available:
        pytest.skip("this build of av writes no AV1")
    path = write_numbered(tmp_path / name, 40, **options)
    clip = decode_clip(path, EVERY, Limits())
    assert numbers(clip.frames) == list(range(40))
    assert codes(clip) == []


@pytest.mark.parametrize(
    ("width", "height", "options"),
    [
        (160, 90, {}),
        (64, 48, {}),
        (90, 160, {}),
        (80, 60, {"rotation": 90}),
        (80, 60, {"rotation": 180}),
        (80, 60, {"rotation": 270}),
        (83, 61, {"pix_fmt": "yuv444p"}),
        (128, 128, {"pix_fmt": "yuv420p10le"}),
        (300, 40, {}),
    ],
)
def test_both_readers_give_the_same_pixels(tmp_path, width, height, options):
    path = write_clip(tmp_path / "noise.mp4", noisy_frames(40, width, height), **options)
    clip = decode_clip(path, EVERY, Limits())
    assert clip.info.reader == "decord"

    assert np.array_equal(streamed(path), clip.frames)
    turned = options.get("rotation", 0) in (90, 270)
    assert (clip.info.width, clip.info.height) == ((height, width) if turned else (width, height))


def test_both_readers_follow_the_colour_tag(tmp_path):
    frames = [np.full((96, 128, 3), (203, 92, 44), np.uint8)] * 40
    pixels = {}
    for tag in ("bt709", "smpte170m"):
        path = write_clip(tmp_path / f"{tag}.mp4", frames, options={"colorspace": tag})
        clip = decode_clip(path, EVERY, Limits())
        assert clip.info.reader == "decord"
        assert np.array_equal(streamed(path), clip.frames)
        pixels[tag] = clip.frames[0, 0, 0].astype(int)
    assert np.abs(pixels["bt709"] - pixels["smpte170m"]).max() > 5


@pytest.mark.parametrize("resize", ["decoder", "float"])
def test_a_contract_may_ignore_the_colour_tag(tmp_path, resize):
    contract = replace(EVERY, resize=resize, color="bt601")
    frames = [np.full((96, 128, 3), (203, 92, 44), np.uint8)] * 40
    found = []
    for tag in ("bt709", "smpte170m"):
        path = write_clip(tmp_path / f"{tag}.mp4", frames, options={"colorspace": tag})
        clip = decode_clip(path, contract, Limits())
        assert clip.info.reader == "pyav"
        found.append(clip.frames[0, 0, 0].astype(int))
    assert np.abs(found[0] - found[1]).max() <= 1


@pytest.mark.parametrize(("rotation", "turns"), [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_frames_resized_as_floats_stand_upright(tmp_path, rotation, turns):
    left_white = np.zeros((48, 64, 3), np.uint8)
    left_white[:, :32] = 255
    contract = replace(OMNIVORE, short_side=48, crop_height=48, crop_width=48)
    path = write_clip(tmp_path / "a.mp4", [left_white] * 32, rotation=rotation)
    clip = decode_clip(path, contract, Limits())
    expected = np.rot90(left_white, turns)
    assert (clip.info.width, clip.info.height) == expected.shape[1::-1]
    middle = np.rot90(left_white[:, 8:56], turns)
    assert np.abs(clip.frames[5] - middle).mean() < 8


def test_a_trimmed_clip_goes_to_pyav_and_shows_only_what_it_should(clips):
    clip = decode_clip(clips / "trimmed.mp4", EVERY, Limits())
    assert clip.info.reader == "pyav"
    assert numbers(clip.frames) == list(range(30, 100))
    assert clip.source_frames.tolist() == list(range(70))
    assert clip.source_times_s[0] == 0.0
    assert codes(clip) == []


@pytest.mark.parametrize("rate", [25, 60, 24, 10])
def test_other_rates_are_resampled_to_the_nearest_frame(tmp_path, rate):
    path = write_numbered(tmp_path / "a.mp4", 3 * rate, rate=rate)
    clip = decode_clip(path, EVERY, Limits())

    assert codes(clip) == [f"resampled-from-{rate}fps"]
    assert len(clip.frames) == 90
    assert numbers(clip.frames) == clip.source_frames.tolist()
    ticks = np.arange(90) / 30
    nearest = np.abs(ticks[:, None] - np.arange(3 * rate)[None] / rate).min(axis=1)
    np.testing.assert_allclose(np.abs(clip.source_times_s - ticks), nearest, atol=1e-6)


def test_ntsc_rate_is_not_resampled(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 60, rate=Fraction(30000, 1001))
    clip = decode_clip(path, EVERY, Limits())
    assert codes(clip) == []
    assert numbers(clip.frames) == list(range(60))
    assert clip.info.fps == pytest.approx(29.97, abs=0.001)


def test_a_variable_rate_is_resampled_by_time(tmp_path):
    times_ms = np.cumsum([0] + [20 + (37 * k) % 50 for k in range(59)])
    path = write_numbered(tmp_path / "a.mp4", 60, times_ms=[int(t) for t in times_ms])
    clip = decode_clip(path, EVERY, Limits())

    assert clip.notices[0].code.startswith("resampled-from-")
    assert numbers(clip.frames) == clip.source_frames.tolist()
    ticks = np.arange(len(clip.frames)) / 30
    nearest = np.abs(ticks[:, None] - times_ms[None] / 1000).min(axis=1)
    np.testing.assert_allclose(np.abs(clip.source_times_s - ticks), nearest, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 31])
def test_a_short_clip_is_announced_as_padded(tmp_path, count):
    clip = decode_clip(write_numbered(tmp_path / "a.mp4", count), EVERY, Limits())
    assert numbers(clip.frames) == list(range(count))
    assert codes(clip) == ["padded"]


def test_a_single_pixel_is_answered(tmp_path):
    frames = [np.full((1, 1, 3), 200, np.uint8)] * 32
    path = write_clip(tmp_path / "a.avi", frames, codec="mjpeg", pix_fmt="yuvj444p")
    clip = decode_clip(path, EVERY, Limits())
    assert clip.frames.shape == (32, 96, 128, 3)
    assert np.abs(clip.frames.astype(int) - 200).max() < 6


def test_files_that_are_no_videos_are_refused(tmp_path):
    path = tmp_path / "a.mp4"
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{tmp_path}/other.mp4\n"
    for content in (b"", b"hello", playlist.encode(), png_bytes()):
        path.write_bytes(content)
        assert rejection(path) == "not-a-video"


def test_a_file_without_pictures_is_refused(tmp_path):
    assert rejection(write_audio_only(tmp_path / "a.mp4")) == "no-video-track"


def test_other_codecs_are_refused(tmp_path):
    path = write_numbered(tmp_path / "a.mkv", 32, codec="ffv1")
    assert rejection(path) == "unsupported-codec"


def test_a_file_whose_index_is_cut_off_is_damaged(clips, tmp_path):
    data = (clips / "plain.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    assert rejection(tmp_path / "a.mp4") == "damaged"


def test_a_file_with_half_its_pictures_is_damaged(clips, tmp_path):
    data = (clips / "index-first.mp4").read_bytes()
    pictures = data.index(b"mdat")
    (tmp_path / "a.mp4").write_bytes(data[: (pictures + len(data)) // 2])
    assert rejection(tmp_path / "a.mp4") == "damaged"
    with pytest.raises(VideoRejected, match="damaged"):
        streamed(tmp_path / "a.mp4")


def test_a_file_that_lost_its_last_pictures_is_answered_with_a_notice(clips, tmp_path):
    data = (clips / "index-first.mp4").read_bytes()
    with av.open(str(clips / "index-first.mp4")) as source:
        ends = [p.pos + p.size for p in source.demux(video=0) if p.size]
    (tmp_path / "a.mp4").write_bytes(data[: ends[-4]])
    clip = decode_clip(tmp_path / "a.mp4", EVERY, Limits())
    assert codes(clip) == ["damaged"]
    assert numbers(clip.frames) == list(range(97))
    assert clip.info.frames_decoded == 97
    assert clip.info.frames_declared == 100


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(max_duration_s=3.0), "too-long"),
        (Limits(max_frames=99), "too-many-frames"),
        (Limits(max_pixels=64 * 48 - 1), "too-many-pixels"),
        (Limits(max_pixels=128 * 96 - 1), "too-many-pixels"),
        (Limits(max_output_mb=3), "too-long"),
    ],
)
def test_clips_over_a_limit_are_refused(clips, limits, code):
    assert rejection(clips / "plain.mp4", limits=limits) == code


def test_a_clip_at_every_limit_is_accepted(clips):
    limits = Limits(
        max_duration_s=3.34, max_frames=100, max_pixels=128 * 96, max_output_mb=4, max_decord_mb=4
    )
    clip = decode_clip(clips / "plain.mp4", EVERY, limits)
    assert clip.info.reader == "decord"


def test_a_header_that_lies_about_the_size_does_not_get_past_the_limit(tmp_path):
    path = write_clip(tmp_path / "a.mp4", noisy_frames(32, 320, 240))
    data = bytearray(path.read_bytes())
    sample = data.index(b"avc1", data.index(b"stsd")) + 28
    assert data[sample : sample + 4] == (320).to_bytes(2, "big") + (240).to_bytes(2, "big")
    data[sample : sample + 4] = (16).to_bytes(2, "big") * 2
    path.write_bytes(data)
    with pytest.raises(VideoRejected):
        decode_clip(path, EVERY, Limits(max_pixels=320 * 240 - 1))
    assert decode_clip(path, EVERY, Limits()).info.width == 320


def test_a_clip_too_large_for_decord_is_read_by_pyav(clips):
    clip = decode_clip(clips / "plain.mp4", EVERY, Limits(max_decord_mb=1))
    assert clip.info.reader == "pyav"
    assert numbers(clip.frames) == list(range(100))


def test_pyav_takes_over_when_decord_gives_up_half_way(clips, monkeypatch):
    read = DecordReader.frames

    def fail_late(self, repeats):
        for index, frame in read(self, repeats):
            if index == 70:
                raise DecordTrouble("repeated frames")
            yield index, frame

    monkeypatch.setattr(DecordReader, "frames", fail_late)
    clip = decode_clip(clips / "plain.mp4", EVERY, Limits())
    assert codes(clip) == ["reader-fallback"]
    assert clip.info.reader == "pyav"
    assert numbers(clip.frames) == list(range(100))


def test_decord_reports_a_number_of_frames_it_did_not_expect(clips):
    path = clips / "plain.mp4"
    report = scan_packets(path, "mp4", Limits())
    report = replace(report, times_s=report.times_s[:99])
    reader = DecordReader(path, report, EVERY, Limits(), width=64, height=48)
    with pytest.raises(DecordTrouble, match="100 frames instead of 99"):
        next(reader.frames(np.ones(99, dtype=np.int64)))


def test_frames_come_in_blocks(clips):
    sink = Frames()
    decode_into(clips / "plain.mp4", EVERY, TRUSTED, sink)
    assert [len(block) for block in sink.blocks] == [32, 32, 32, 4]
    assert numbers(np.concatenate(sink.blocks)) == list(range(100))


def test_a_missing_file_is_the_callers_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        decode_clip(tmp_path / "no.mp4", EVERY, Limits())


def test_the_name_of_a_file_does_not_matter(clips, tmp_path):
    shutil.copy(clips / "plain.mp4", tmp_path / "list.m3u8")
    clip = decode_clip(tmp_path / "list.m3u8", EVERY, Limits())
    assert numbers(clip.frames) == list(range(100))
