"""Odd files that cameras, editors and cutting without decoding make, and what each should give."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.extract.support.bits import field_pictures, not_coded
from tests.extract.support.ffmpeg_program import ffmpeg

WIDTH, HEIGHT = 128, 96
COLOURS = [[(200, 30, 30), (30, 170, 30)], [(30, 30, 200), (210, 210, 210)]]
BITS = 8

X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "16", "-pix_fmt", "yuv420p")
IN_ORDER = (*X264, "-bf", "0", "-g", "30")
X265 = ("-c:v", "libx265", "-preset", "fast", "-crf", "18", "-pix_fmt", "yuv420p", "-tag:v", "hvc1")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "3", "-bf", "0", "-g", "30")


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture of four colours, so that turning shows, and its number in black and white."""
    picture = np.empty((height, width, 3), np.uint8)
    for row, colours in enumerate(COLOURS):
        for column, colour in enumerate(colours):
            top, left = row * height // 2, column * width // 2
            picture[top : top + height // 2 + 1, left : left + width // 2 + 1] = colour
    left, right = width // 10, width - width // 10
    for bit in range(BITS):
        begin, end = (left + (right - left) * place // BITS for place in (bit, bit + 1))
        value = 255 * (number >> (BITS - 1 - bit) & 1)
        picture[height * 3 // 8 : height * 5 // 8, begin:end] = value
    return picture


def film(count: int, start: int = 0, width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray]:
    return [numbered(number % 256, width, height) for number in range(start, start + count)]


@dataclass(frozen=True)
class OddClip:
    """One file.

    Attributes:
        name: of the file; its ending says the container.
        make: writes it.
        codes: of the notices that it must get, no more and no fewer.
        size: width and height as shown.
        track: which of its video tracks is to be read.
        asked: the track to ask for.
        times_s: of its pictures, where those in the file are wrong.
        end_s: when it ends, likewise.
        start_s: when it starts, where the container cannot say.
        by_decord: decord may read it.
    """

    name: str
    make: Callable[[Path], None]
    codes: Sequence[str] = ()
    size: tuple[int, int] = (WIDTH, HEIGHT)
    track: int = 0
    asked: int | None = None
    times_s: np.ndarray | None = None
    end_s: float | None = None
    start_s: float | None = None
    by_decord: bool = False


def encoded(*how: str, count: int = 60, rate: str = "30", frames=None) -> Callable[[Path], None]:
    """A film by an encoder; `how` are the program's arguments."""
    return lambda path: ffmpeg(*how, path, frames=frames or film(count), rate=rate)


def copied(make: Callable[[Path], None], *how: str, ending: str = "mp4") -> Callable[[Path], None]:
    """What another maker made, copied without decoding."""

    def written(path: Path) -> None:
        source = path.with_name(f"source-{path.stem}.{ending}")
        make(source)
        before = [part for part in how if part != "-"]
        split = how.index("-") if "-" in how else 0
        ffmpeg(*before[:split], "-i", source, *before[split:], "-c", "copy", path)

    return written


def with_matrix(a: float, b: float, c: float, d: float, x: int, y: int):
    """A film whose container asks for its pictures to be turned so; H.264 in MP4."""

    def written(path: Path) -> None:
        encoded(*X264)(path)
        data = bytearray(path.read_bytes())
        place = data.index(b"tkhd") + 4 + 40
        values = [a, b, 0, c, d, 0, x, y, 1]
        scales = [1 << 30 if at % 3 == 2 else 1 << 16 for at in range(9)]
        numbers = [round(value * scale) for value, scale in zip(values, scales, strict=True)]
        data[place : place + 36] = struct.pack(">9i", *numbers)
        path.write_bytes(data)

    return written


def with_message(codec: str, turn: int, flip_x: bool, flip_y: bool):
    """A film whose stream itself asks for its pictures to be turned (SEI), once for all of them.

    Args:
        codec: "h264" or "hevc".
        turn: degrees counter-clockwise.
        flip_x: left and right are exchanged before.
        flip_y: top and bottom are exchanged before.
    """
    bits = f"0{flip_x:b}{flip_y:b}{turn * 65536 // 360:016b}"
    bits += "0101" if codec == "h264" else "1"  # until another one comes
    bits += "1"
    body = int(bits + "0" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big")
    head = b"\x06" if codec == "h264" else b"\x4e\x01"
    message = head + bytes([47, len(body)]) + body + b"\x80"

    def written(path: Path) -> None:
        source = path.with_name(f"source-{path.stem}.mp4")
        encoded(*(X264 if codec == "h264" else (*X265, "-x265-params", "log-level=none")))(source)
        with av.open(str(source)) as read, av.open(str(path), "w") as write:
            stream = read.streams.video[0]
            copy = write.add_stream_from_template(stream)
            for place, packet in enumerate(p for p in read.demux(stream) if p.size):
                data = bytes(packet)
                if place == 0:
                    data = len(message).to_bytes(4, "big") + message + data
                new = av.Packet(data)
                new.stream, new.time_base, new.is_keyframe = (
                    copy,
                    packet.time_base,
                    packet.is_keyframe,
                )
                new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
                write.mux(new)

    return written


def retimed(
    path: Path,
    times: Sequence[int | None],
    unit: Fraction,
    *,
    durations: Sequence[int] | None = None,
    frames=None,
) -> None:
    """A film of pictures in order whose packets say these times, in these units."""
    source = path.with_name(f"source-{path.stem}.mp4")
    encoded(*IN_ORDER, frames=frames or film(len(times)))(source)
    options = {"video_track_timescale": str(unit.denominator)} if path.suffix == ".mp4" else {}
    with av.open(str(source)) as read, av.open(str(path), "w", container_options=options) as write:
        stream = read.streams.video[0]
        copy = write.add_stream_from_template(stream)
        copy.time_base = unit
        packets = [packet for packet in read.demux(stream) if packet.size]
        for place, (packet, time) in enumerate(zip(packets, times, strict=True)):
            packet.stream, packet.time_base = copy, unit
            packet.pts, packet.dts = time, place
            packet.duration = durations[place] if durations else 0
            write.mux(packet)


def without_a_time(path: Path) -> None:
    """Matroska where one picture's time lies before the file's beginning, which is no time."""
    retimed(path, THIRTY, MS)
    data = path.read_bytes()
    with av.open(str(path)) as read:
        packets = [bytes(packet) for packet in read.demux(video=0) if packet.size]
    place = data.index(packets[31]) - 3  # of a block's time, before its flags and its content
    assert struct.unpack(">h", data[place : place + 2])[0] == THIRTY[31]
    path.write_bytes(data[:place] + struct.pack(">h", -100) + data[place + 2 :])


def two_tracks(*flags: str, second=(), first=()):
    """A film of 0, 1, 2 ... and one of 100, 101, 102 ... at more bits a second."""

    def written(path: Path) -> None:
        one, two = (path.with_name(f"{part}-{path.stem}.mp4") for part in ("one", "two"))
        encoded(*(first or (*IN_ORDER, "-profile:v", "baseline")))(one)
        encoded(*(second or (*IN_ORDER, "-crf", "2")), frames=film(60, 100))(two)
        ffmpeg("-i", one, "-i", two, "-map", "0:v", "-map", "1:v", "-c", "copy", *flags, path)

    return written


def with_edits(*edits: tuple[float, float]):
    """A film of 90 pictures with an edit list.

    Args:
        edits: seconds shown, and from when in the film on; -1: nothing is shown.
    """

    def written(path: Path) -> None:
        encoded(*IN_ORDER, "-g", "15", count=90)(path)
        data = bytearray(path.read_bytes())
        assert data.index(b"mdat") < data.index(b"moov")  # places of samples do not move
        scale, track_scale = (
            struct.unpack(">I", data[data.index(box) + 16 :][:4])[0] for box in (b"mvhd", b"mdhd")
        )
        rows = b"".join(
            struct.pack(
                ">IiI", round(long * scale), -1 if at < 0 else round(at * track_scale), 65536
            )
            for long, at in edits
        )
        place = data.index(b"elst") - 4
        old = struct.unpack(">I", data[place : place + 4])[0]
        new = struct.pack(">I4sII", 16 + len(rows), b"elst", 0, len(edits)) + rows
        data[place : place + old] = new
        for box in (b"edts", b"trak", b"moov"):
            at = data.index(box) - 4
            size = struct.unpack(">I", data[at : at + 4])[0]
            data[at : at + 4] = struct.pack(">I", size + len(new) - old)
        total = round(sum(long for long, _ in edits) * scale)
        for box, offset in ((b"mvhd", 20), (b"tkhd", 24)):
            at = data.index(box) + offset
            data[at : at + 4] = struct.pack(">I", total)
        path.write_bytes(data)

    return written


def with_not_coded(every: int, ending: str):
    """MPEG-4 where every so many pictures are the one before again."""

    def written(path: Path) -> None:
        source = path.with_name(f"source-{path.stem}.avi")
        encoded(*MPEG4, "-vtag", "XVID", count=100)(source)
        with av.open(str(source)) as read, av.open(str(path), "w") as write:
            stream = read.streams.video[0]
            copy = write.add_stream_from_template(stream)
            if ending == "avi":
                copy.codec_context.codec_tag = "XVID"
            for place, packet in enumerate(p for p in read.demux(stream) if p.size):
                is_empty = place % every == every - 1 and not packet.is_keyframe
                new = av.Packet(not_coded(place % 30) if is_empty else bytes(packet))
                new.is_keyframe = packet.is_keyframe
                new.stream, new.time_base = copy, stream.time_base
                new.pts = new.dts = place
                new.duration = 1
                write.mux(new)

    return written


def in_fields(path: Path) -> None:
    """H.264 whose pictures come as two fields in two packets."""
    packets = field_pictures(path.parent, film(40))
    stream = path.with_suffix(".h264")
    stream.write_bytes(b"".join(packets))
    ffmpeg("-f", "h264", "-r", "60", "-i", stream, "-c", "copy", stream.with_suffix(".mkv"))
    with av.open(str(stream.with_suffix(".mkv"))) as read, av.open(str(path), "w") as write:
        copy = write.add_stream_from_template(read.streams.video[0])
        for place, data in enumerate(packets):
            packet = av.Packet(_with_lengths(data))
            packet.stream, packet.time_base = copy, Fraction(1, 60)
            packet.pts = packet.dts = place
            packet.is_keyframe = place % 2 == 0
            write.mux(packet)


def _with_lengths(data: bytes) -> bytes:
    """A packet with start codes as MP4 and Matroska hold it."""
    pieces = data.split(b"\x00\x00\x00\x01")[1:]
    return b"".join(len(piece).to_bytes(4, "big") + piece for piece in pieces)


def hidden_frames(codec: str, *how: str):
    """VP8 or VP9 with frames that are only there for others to refer to; two passes make them."""

    def written(path: Path) -> None:
        frames = [picture.copy() for picture in film(60, 0, 320, 240)]
        texture = np.random.default_rng(3).integers(0, 255, (30, 120, 3), dtype=np.uint8)
        texture = texture.repeat(2, 0).repeat(8, 1)
        for number, frame in enumerate(frames):
            frame[:60] = texture[:60, number * 3 : number * 3 + 320]
        log = path.with_suffix("")
        settings = ("-c:v", codec, "-b:v", "120k", "-auto-alt-ref", "1", "-lag-in-frames", "25",
                    "-arnr-maxframes", "7", "-arnr-strength", "5", "-cpu-used", "2",
                    "-threads", "1", "-passlogfile", str(log), *how)  # fmt: skip
        ffmpeg(*settings, "-pass", "1", "-f", "null", "-", frames=frames)
        ffmpeg(*settings, "-pass", "2", path, frames=frames)

    return written


def constant(count: int, rate: Fraction | int = 30) -> np.ndarray:
    return np.arange(count) / float(rate)


MS = Fraction(1, 1000)
UNEVEN = [40 * k + 9 * (k % 4) for k in range(60)]
THIRTY = [round(k * 1000 / 30) for k in range(60)]


def changed(times: Sequence[int], changes: dict[int, int | None]) -> list[int | None]:
    return [changes.get(place, time) for place, time in enumerate(times)]


OPEN_265 = (*X265, "-x265-params", "keyint=30:min-keyint=30:open-gop=1:scenecut=0:bframes=4:"
            "b-adapt=0:log-level=none:pools=1:frame-threads=1")  # fmt: skip
OPEN_264 = (*X264, "-x264-params", "keyint=30:min-keyint=30:open-gop=1:scenecut=0:bframes=3:"
            "b-adapt=0")  # fmt: skip

TURNED = (HEIGHT, WIDTH)
W, H = WIDTH, HEIGHT

ORIENTATIONS = [
    OddClip("plain.mp4", encoded(*X264), by_decord=True),
    OddClip("mirrored.mp4", with_matrix(-1, 0, 0, 1, W, 0)),
    OddClip("upside-down-mirrored.mp4", with_matrix(1, 0, 0, -1, 0, H)),
    OddClip("half-turn.mp4", with_matrix(-1, 0, 0, -1, W, H), by_decord=True),
    OddClip("quarter-right.mp4", with_matrix(0, 1, -1, 0, H, 0), size=TURNED, by_decord=True),
    OddClip("quarter-left.mp4", with_matrix(0, -1, 1, 0, 0, W), size=TURNED, by_decord=True),
    OddClip("front-camera.mp4", with_matrix(0, 1, 1, 0, 0, 0), size=TURNED),
    OddClip("other-diagonal.mp4", with_matrix(0, -1, -1, 0, H, W), size=TURNED),
    OddClip("quarter.mkv", copied(encoded(*X264), "-display_rotation", "90", "-"), size=TURNED,
            by_decord=True),
    *(OddClip(f"message-{codec}-{turn}-{flip_x:d}{flip_y:d}.mp4",
              with_message(codec, turn, flip_x, flip_y), size=TURNED if turn % 180 else (W, H))
      for codec in ("h264", "hevc")
      for turn, flip_x, flip_y in ((90, 0, 0), (180, 0, 0), (270, 0, 0), (0, 1, 0), (0, 0, 1),
                                   (90, 1, 0), (90, 0, 1))),
]  # fmt: skip

TRACKS = [
    OddClip("two-tracks.mp4", two_tracks(), codes=["several-tracks"]),
    OddClip("two-tracks-second-asked.mp4", two_tracks(), codes=["several-tracks"], track=1,
            asked=1),
    OddClip("second-is-default.mp4",
            two_tracks("-disposition:v:0", "0", "-disposition:v:1", "default"),
            codes=["several-tracks"], track=1),
    OddClip("second-is-default.mkv",
            two_tracks("-disposition:v:0", "0", "-disposition:v:1", "default"),
            codes=["several-tracks"], track=1),
    OddClip("cover-first.mp4",
            two_tracks(first=("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-frames:v", "1")),
            codes=["several-tracks"], track=1),
    OddClip("attached-cover.mp4",
            two_tracks("-disposition:v:0", "attached_pic",
                       first=("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-frames:v", "1")),
            by_decord=True),
]  # fmt: skip

TIMES = [
    OddClip("doubled.mkv", lambda p: retimed(p, changed(THIRTY, {41: THIRTY[40]}), MS),
            codes=["times-repaired"], times_s=constant(60), end_s=2.0),
    OddClip("doubled-variable.mkv",
            lambda p: retimed(p, changed(UNEVEN, {41: 1600}), MS),
            codes=["resampled-from-24.79fps", "times-repaired"],
            times_s=np.array(UNEVEN) / 1000),
    OddClip("missing.mkv", without_a_time, codes=["times-repaired"],
            times_s=constant(60), end_s=2.0),
    OddClip("backward.mkv", lambda p: retimed(p, changed(THIRTY, {30: 700, 31: 650}), MS),
            codes=["times-repaired"], times_s=constant(60), end_s=2.0),
    OddClip("far-ahead.mkv", lambda p: retimed(p, changed(THIRTY, {30: 60000, 31: 60033}), MS),
            codes=["times-repaired"], times_s=constant(60), end_s=2.0),
    OddClip("gap.mkv", lambda p: retimed(p, [*THIRTY[:30], *(30000 + t for t in THIRTY[30:])], MS),
            codes=["resampled-from-1.88fps", "gap"], by_decord=True),
    OddClip("still-in-the-middle.mkv",
            lambda p: retimed(p, [*THIRTY[:30], *(1000 * k for k in range(1, 7)),
                                  *(6000 + t for t in THIRTY[1:30])], MS),
            codes=["resampled-from-9.29fps"], by_decord=True),
    OddClip("long-last.mp4",
            lambda p: retimed(p, [3000 * k for k in range(31)], Fraction(1, 90000),
                              durations=[3000] * 30 + [9 * 90000]),
            codes=["resampled-from-3.1fps"], by_decord=True),
    OddClip("long-last.mkv",
            lambda p: retimed(p, [*THIRTY[:30], 1000], MS, durations=[33] * 30 + [9000]),
            codes=["resampled-from-3.1fps"], by_decord=True),
    OddClip("one-picture.mp4",
            lambda p: retimed(p, [0], Fraction(1, 90000), durations=[450000]),
            codes=["resampled-from-0.2fps"], by_decord=True),
    OddClip("slides.mp4",
            lambda p: retimed(p, [0, 180000, 360000], Fraction(1, 90000), durations=[180000] * 3),
            codes=["resampled-from-0.5fps"], by_decord=True),
    OddClip("ntsc.mp4", encoded(*IN_ORDER, count=200, rate="30000/1001"), by_decord=True),
    OddClip("ntsc.mkv", encoded(*IN_ORDER, count=200, rate="30000/1001"), by_decord=True),
    OddClip("double-ntsc.mp4", encoded(*X264, count=120, rate="60000/1001"),
            codes=["resampled-from-59.94fps"], by_decord=True),
    OddClip("film.mp4", encoded(*X264, count=48, rate="24000/1001"),
            codes=["resampled-from-23.98fps"], by_decord=True),
    OddClip("fast.mkv", encoded(*X264, count=242, rate="120"),
            codes=["resampled-from-120.02fps"], by_decord=True),
    OddClip("fast.webm",
            encoded("-c:v", "libvpx-vp9", "-crf", "30", "-b:v", "0", "-cpu-used", "8",
                    "-deadline", "realtime", count=122, rate="120"),
            codes=["resampled-from-120.04fps"]),
]  # fmt: skip

STARTS = [
    OddClip(f"late.{ending}", lambda p: ffmpeg(
        "-f", "lavfi", "-i", "sine=frequency=440:duration=3.5",
        "-map", "0:v", "-map", "1:a", "-output_ts_offset", "0", "-filter:v", "setpts=PTS+1.5/TB",
        *X264, "-c:a", "aac", p, frames=film(60)))
    for ending in ("mp4", "mkv")
] + [
    OddClip("from-far.mkv", encoded(*IN_ORDER, "-output_ts_offset", "5000")),
]  # fmt: skip

PICTURES = [
    OddClip("hidden.webm", hidden_frames("libvpx", "-g", "60"), size=(320, 240)),
    OddClip("hidden-vp9.webm", hidden_frames("libvpx-vp9"), size=(320, 240)),
    OddClip("not-coded.avi", with_not_coded(10, "avi"), codes=["resampled-from-27.3fps"]),
    OddClip("not-coded.mkv", with_not_coded(10, "mkv"), codes=["resampled-from-27.3fps"]),
    OddClip("not-coded.mp4", with_not_coded(25, "mp4"), codes=["resampled-from-29.1fps"]),
    OddClip("out-of-order.avi", encoded(*X264, "-bf", "3"), start_s=0.0),
    OddClip("out-of-order-mpeg4.avi", encoded("-c:v", "mpeg4", "-q:v", "3", "-bf", "2"),
            start_s=0.0),
    OddClip("dropped.avi",
            encoded("-vf", "select='not(eq(mod(n,3),2))'", "-fps_mode", "vfr", "-enc_time_base",
                    "1/30", "-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"),
            codes=["resampled-from-20.17fps"], start_s=0.0),
    OddClip("in-order.avi", encoded(*IN_ORDER), start_s=0.0),
    OddClip("fields.mp4", in_fields),
    OddClip("by-lines.mp4", encoded(*X264, "-flags", "+ilme+ildct", "-x264-params", "tff=1"),
            by_decord=True),
    OddClip("cut-265.mkv", copied(encoded(*OPEN_265, count=90), "-ss", "1", "-")),
    OddClip("cut-265.mp4", copied(encoded(*OPEN_265, count=90), "-ss", "1", "-")),
    OddClip("cut-264.mkv", copied(encoded(*OPEN_264, count=90), "-ss", "1", "-")),
    OddClip("cut-both-265.mkv", copied(encoded(*OPEN_265, count=150), "-ss", "2", "-t", "1", "-"),
            codes=["resampled-from-26.67fps"]),
    OddClip("cut-both-264.mkv", copied(encoded(*OPEN_264, count=150), "-ss", "2", "-t", "1", "-"),
            codes=["resampled-from-27.44fps"]),
]  # fmt: skip

EDITS = [
    OddClip("trimmed.mp4", with_edits((2, 1))),
    OddClip("trimmed-inside-a-group.mp4", with_edits((1.8, 1.2))),
    OddClip("trimmed-at-the-end.mp4", with_edits((2, 0))),
    OddClip("late-by-edit.mp4", with_edits((1, -1), (3, 0))),
    OddClip("late-and-trimmed.mp4", with_edits((1, -1), (2, 1))),
    OddClip("middle-cut-out.mp4", with_edits((1, 0), (1, 2))),
    OddClip("three-times.mp4", with_edits((1, 0), (1, 0), (1, 0))),
]

SHAPES = [
    OddClip("wide-pixels.mp4", encoded("-vf", "scale=96:96,setsar=4/3", *X264),
            codes=["non-square-pixels"], by_decord=True),
    OddClip("narrow-pixels.mkv", encoded("-vf", "scale=128:72,setsar=3/4", *X264),
            size=(96, 72), codes=["non-square-pixels"], by_decord=True),
    OddClip("wide-pixels-turned.mp4",
            copied(encoded("-vf", "scale=96:96,setsar=4/3", *X264), "-display_rotation", "90", "-"),
            size=TURNED, codes=["non-square-pixels"], by_decord=True),
    OddClip("4k60.mp4", encoded("-vf", "scale=3840:2160:flags=neighbor", *X264, "-preset",
                                "ultrafast", count=12, rate="60"),
            size=(3840, 2160), codes=["resampled-from-60fps"], by_decord=True),
    OddClip("action-camera.mp4", encoded("-vf", "scale=3840:2880:flags=neighbor", *X264, "-preset",
                                         "ultrafast", count=8),
            size=(3840, 2880), by_decord=True),
    OddClip("hlg.mp4",
            encoded("-vf", "scale=out_color_matrix=bt2020nc,format=yuv420p10le,"
                    "setparams=color_trc=arib-std-b67:color_primaries=bt2020:colorspace=bt2020nc",
                    "-c:v", "libx265", "-preset", "fast", "-tag:v", "hvc1",
                    "-x265-params", "log-level=none"),
            codes=["hdr"], by_decord=True),
]  # fmt: skip

ODD_CLIPS = [*ORIENTATIONS, *TRACKS, *TIMES, *STARTS, *PICTURES, *EDITS, *SHAPES]
