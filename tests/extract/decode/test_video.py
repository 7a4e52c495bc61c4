from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from extract.contract import OMNIVORE
from extract.decode.clip import TRUSTED, Limits
from extract.decode.video import decode_clip, decode_into
from extract.errors import VideoRejected
from tests.extract.decode.clip_checks import codes, numbers, rejection
from tests.extract.support.clips import noisy_frames, write_clip, write_numbered
from tests.extract.support.decoded import EVERY, Frames, decode


def streamed(path):
    """Frames as PyAV gives them."""
    return decode(path, EVERY, "pyav", Limits())[1]


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


@pytest.mark.slow
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


def test_a_single_pixel_is_answered(tmp_path):
    frames = [np.full((1, 1, 3), 200, np.uint8)] * 32
    path = write_clip(tmp_path / "a.avi", frames, codec="mjpeg", pix_fmt="yuvj444p")
    clip = decode_clip(path, EVERY, Limits())
    assert clip.frames.shape == (32, 96, 128, 3)
    assert np.abs(clip.frames.astype(int) - 200).max() < 6


def test_a_file_with_half_its_pictures_is_damaged(clips, tmp_path):
    data = (clips / "index-first.mp4").read_bytes()
    pictures = data.index(b"mdat")
    (tmp_path / "a.mp4").write_bytes(data[: (pictures + len(data)) // 2])
    assert rejection(tmp_path / "a.mp4") == "damaged"
    with pytest.raises(VideoRejected, match="damaged"):
        streamed(tmp_path / "a.mp4")


def test_frames_come_in_blocks(clips):
    sink = Frames()
    decode_into(clips / "plain.mp4", EVERY, TRUSTED, sink)
    assert [len(block) for block in sink.blocks] == [32, 32, 32, 4]
    assert numbers(np.concatenate(sink.blocks)) == list(range(100))


def test_a_missing_file_is_the_callers_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        decode_clip(tmp_path / "no.mp4", EVERY, Limits())
