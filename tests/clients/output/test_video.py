from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from clients.output.video import HEAD, Panel, render
from clients.results.predictions import JointAction, PredictionResult
from tests.extract.support.clips import numbered_frame, read_number, write_audio_only, write_clip
from tests.extract.support.ffmpeg_program import ffmpeg
from tests.extract.support.odd_clips import ORIENTATIONS, SHAPES, TRACKS, numbered


@pytest.fixture
def result(answer):
    built = PredictionResult.from_dict(answer)
    segments = [replace(built.segments[0], start_s=0.0, end_s=2.0)]
    return replace(built, segments=segments, input=replace(built.input, duration_s=2.0))


def frames_of(path):
    with av.open(str(path)) as video:
        return [(f.time, f.to_ndarray(format="rgb24")) for f in video.decode(video=0)]


def test_every_picture_stays_as_it_is_and_when_it_is(result, tmp_path):
    times = [0, 40, 100, 130, 400, 410, 1000, 1960]
    pictures = [numbered_frame(k, 640, 360) for k in range(len(times))]
    clip = write_clip(tmp_path / "clip.mkv", pictures, times_ms=times)
    shares = []
    render(clip, result, tmp_path / "out.mkv", progress=shares.append)

    drawn = frames_of(tmp_path / "out.mkv")
    assert [round(1000 * time) for time, _ in drawn] == times
    for number, (_, pixels) in enumerate(drawn):
        assert pixels.shape == (360 + Panel(result, 640).height, 640, 3)
        assert read_number(pixels[:360]) == number
    assert shares == sorted(shares)
    assert not list(tmp_path.glob(".*"))


def test_the_panel_moves_with_time_and_names_the_segment(result):
    first = result.segments[0]
    other = replace(first, start_s=1.0, ar=None, oscc=None, pnr=None)
    panel = Panel(replace(result, segments=[replace(first, end_s=1.0), other]), 640)
    early, later, changed = panel.at(0.1), panel.at(0.9), panel.at(1.5)
    assert (early != later).any()
    moved = np.flatnonzero((early != later).any(axis=(1, 2)))
    assert moved.min() >= panel._top
    assert (later != changed)[: panel._top].any()


def test_sound_is_kept(result, tmp_path):
    tone = write_audio_only(tmp_path / "tone.mp4")
    clip = tmp_path / "clip.mp4"
    with av.open(str(tone)) as source, av.open(str(clip), "w") as target:
        sound = target.add_stream_from_template(source.streams.audio[0])
        stream = target.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, 640, 360), format="rgb24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                target.mux(packet)
    render(clip, result, tmp_path / "out.mp4")

    def packets(path):
        with av.open(str(path)) as video:
            return [bytes(p) for p in video.demux(audio=0) if p.size]

    assert packets(tmp_path / "out.mp4") == packets(clip)


def corners(picture):
    """Mean colours of the four corners, (4, 3)."""
    height, width = (side // 8 for side in picture.shape[:2])
    parts = [picture[y, x] for y in (slice(height), slice(-height, None))
             for x in (slice(width), slice(-width, None))]  # fmt: skip
    return np.array([part.reshape(-1, 3).mean(axis=0) for part in parts])


@pytest.mark.slow
@pytest.mark.parametrize("odd", [*ORIENTATIONS, *SHAPES], ids=lambda odd: odd.name)
def test_pictures_are_drawn_as_ffmpeg_shows_them(odd, result, tmp_path):
    clip, shown = tmp_path / odd.name, tmp_path / "shown.png"
    odd.make(clip)
    render(clip, result, tmp_path / "out.mkv")
    square = "scale=trunc(iw*sar/2)*2:ih:flags=neighbor"
    ffmpeg("-i", clip, "-frames:v", "1", "-vf", square, shown)
    expected = np.asarray(Image.open(shown).convert("RGB"))
    panel = Panel(result, max(480, expected.shape[1])).height
    last = frames_of(tmp_path / "out.mkv")[-1][1]
    drawn = last[: len(last) - panel]
    assert drawn.shape[1] / drawn.shape[0] == pytest.approx(odd.size[0] / odd.size[1], rel=0.02)
    assert np.abs(corners(drawn) - corners(expected)).max() < 12


@pytest.mark.slow
def test_the_track_that_was_answered_is_drawn_on_at_its_own_times(result, tmp_path):
    (odd,) = (odd for odd in TRACKS if odd.name == "two-tracks-second-asked.mp4")
    odd.make(tmp_path / odd.name)
    facts = replace(result.input, video_track=1, start_s=0.0)
    render(tmp_path / odd.name, replace(result, input=facts), tmp_path / "out.mkv")
    small = [np.asarray(Image.fromarray(p).resize((128, 96), box=(0, 0, 480, 360)))
             for _, p in frames_of(tmp_path / "out.mkv")]  # fmt: skip
    assert np.abs(small[30].astype(int) - numbered(130)).mean() < 8
    assert np.abs(small[30].astype(int) - numbered(30)).mean() > 12


def test_a_late_clip_has_its_own_clock(result):
    late = replace(
        result,
        input=replace(result.input, start_s=1.5),
        segments=[replace(result.segments[0], start_s=1.5, end_s=3.5)],
    )
    panels = Panel(late, 640).at(2.5), Panel(result, 640).at(1.0)
    heads = [(panel == HEAD).all(axis=-1) for panel in panels]
    assert np.array_equal(*heads)
    assert heads[0].any()


@pytest.mark.parametrize("rotation", [0, 90, 180])
@pytest.mark.parametrize("size", [(64, 48), (641, 359)])
def test_odd_sizes_and_turned_clips_are_drawn_upright(result, tmp_path, size, rotation):
    pictures = [numbered_frame(5, *size)] * 3
    options = {"pix_fmt": "yuv444p", "rotation": rotation, "rate": Fraction(30)}
    clip = write_clip(tmp_path / "clip.mp4", pictures, **options)
    render(clip, result, tmp_path / "out.mp4")
    _, pixels = frames_of(tmp_path / "out.mp4")[0]
    height, width = pixels.shape[:2]
    assert height % 2 == width % 2 == 0
    picture = pixels[: height - Panel(result, width).height]
    assert (picture.shape[0] > picture.shape[1]) == (rotation == 90)


def test_what_cannot_be_drawn_on_leaves_nothing_behind(result, tmp_path):
    tone = write_audio_only(tmp_path / "tone.mp4")
    with pytest.raises(OSError, match="no video track"):
        render(tone, result, tmp_path / "out.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(OSError, match=r"text\.mp4 cannot be drawn on: Invalid data"):
        render(tmp_path / "text.mp4", result, tmp_path / "out.mp4")
    with pytest.raises(ValueError, match="no segment"):
        render(tone, replace(result, segments=[]), tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.mp4", "tone.mp4"]


def test_what_comes_next_is_a_sampled_future(result):
    shown = Panel(result, 480).at(0.0)
    ranked = replace(result, lta=replace(result.lta, steps=[]))
    np.testing.assert_array_equal(Panel(ranked, 480).at(0.0), shown)
    another = replace(result.lta, hypotheses=[[JointAction("cut", "bread")]])
    assert (Panel(replace(result, lta=another), 480).at(0.0) != shown).any()
