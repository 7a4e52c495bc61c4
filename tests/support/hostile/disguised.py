"""Files that are no video, and files that name other files or addresses."""

import io
import random
import zipfile

import av

from tests.extract.support.clips import png_bytes, write_audio_only
from tests.support.hostile import boxes
from tests.support.hostile.pictures import add_tone, add_video, clip, muxed, plain
from tests.support.hostile.specimen import Bait, Make, answered, refused

NOT_A_VIDEO = (415, "unsupported-media")
UNDECODABLE = (422, "undecodable-video")


def _text(template: str) -> Make:
    """A script whose words lead to the bait."""
    return lambda bait: template.format(
        http=bait.http, udp=bait.udp_port, secret=bait.secret
    ).encode()


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{http}/seg.ts\n#EXT-X-ENDLIST\n"
HLS_FILE = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n"
HLS_KEY = (
    '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{http}/key"\n#EXTINF:9,\n{http}/seg.ts\n'
    "#EXT-X-ENDLIST\n"
)
CONCAT = "ffconcat version 1.0\nfile '{secret}'\nfile '{http}/x.mp4'\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
    "<BaseURL>{http}/x.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>"
)
SDP = (
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {udp} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    '<image xlink:href="{http}/x.png"/><image xlink:href="file://{secret}"/></svg>'
)
HTML = '<!doctype html><video src="{http}/x.mp4"></video>'
SMIL = '<smil><body><video src="{http}/x.mp4"/></body></smil>'
M3U_IN_MP4 = "\nHLS follows\n" + HLS


def _behind_a_head(template: str) -> Make:
    """A script behind the first box of an MP4, past any look at the first bytes."""
    head = boxes.box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")
    return lambda bait: head + _text(template)(bait)


def _elsewhere(kind: bytes) -> Make:
    """An MP4 whose pictures are said to lie in another place; its own are what counts."""

    def make(bait: Bait) -> bytes:
        target = f"{bait.http}/x.mp4" if kind == b"url " else str(bait.secret)
        entry = boxes.box(kind, b"\0\0\0\0" + target.encode() + b"\0")
        return boxes.edit(plain(bait), b"dref", lambda _: b"\0\0\0\0\0\0\0\1" + entry)

    return make


def _zip(bait: Bait) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("clip.mp4", plain(bait))
    return buffer.getvalue()


def _audio_only(bait: Bait) -> bytes:
    return write_audio_only(bait.folder / "tone.mp4").read_bytes()


def _cover_only(bait: Bait) -> bytes:
    """A song with a picture on its sleeve."""

    def fill(container) -> None:
        tone = add_tone(container)
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = 0x400  # attached_pic
        tone()
        packet = av.Packet(png_bytes())
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        container.mux(packet)

    return muxed(bait, fill)


def _codec(codec: str, ending: str, pix_fmt: str = "yuv420p") -> Make:
    return lambda bait: muxed(
        bait, lambda container: add_video(container, codec=codec, pix_fmt=pix_fmt)(), ending=ending
    )


SPECIMENS = [
    refused("nothing", lambda _: b"", 400, "malformed-request"),
    refused("one byte", lambda _: b"\0", *NOT_A_VIDEO),
    refused("text", lambda _: b"not a video at all, just words\n" * 99, *NOT_A_VIDEO),
    refused("HTML that plays a video", _text(HTML), *NOT_A_VIDEO),
    refused("picture", lambda _: png_bytes(), *NOT_A_VIDEO),
    refused("archive with a clip in it", _zip, *NOT_A_VIDEO),
    refused("program", lambda _: b"\x7fELF\2\1\1" + bytes(4096), *NOT_A_VIDEO),
    refused("noise", lambda _: random.Random(1).randbytes(9999), *NOT_A_VIDEO),
    refused("zeros", lambda _: bytes(9999), *NOT_A_VIDEO),
    refused("sound with a RIFF head", lambda _: b"RIFF\0\0\0\0WAVEfmt " + bytes(99), *NOT_A_VIDEO),
    refused("playlist of an address", _text(HLS), *NOT_A_VIDEO),
    refused("playlist of a file of the server's", _text(HLS_FILE), *NOT_A_VIDEO),
    refused("playlist with the address of a key", _text(HLS_KEY), *NOT_A_VIDEO),
    refused("concat script", _text(CONCAT), *NOT_A_VIDEO),
    refused("DASH manifest", _text(DASH), *NOT_A_VIDEO),
    refused("session description", _text(SDP), *NOT_A_VIDEO),
    refused("drawing that shows other pictures", _text(SVG), *NOT_A_VIDEO),
    refused("SMIL", _text(SMIL), *NOT_A_VIDEO),
    refused("playlist behind an MP4's head", _behind_a_head(M3U_IN_MP4), *UNDECODABLE),
    refused("drawing behind an MP4's head", _behind_a_head(SVG), *UNDECODABLE),
    answered("MP4 whose pictures are said to lie at an address", _elsewhere(b"url ")),
    answered("MP4 whose pictures are said to lie in a file", _elsewhere(b"alis")),
    refused("MPEG transport stream", lambda b: clip(b, ending="ts"), *NOT_A_VIDEO),
    refused("MPEG program stream", _codec("mpeg2video", "mpg"), *NOT_A_VIDEO),
    refused("Flash video", _codec("flv", "flv"), *NOT_A_VIDEO),
    refused("moving GIF", _codec("gif", "gif", "rgb8"), *NOT_A_VIDEO),
    refused("sound alone", _audio_only, 422, "no-video-stream"),
    refused("sound with a cover picture", _cover_only, 422, "no-video-stream"),
    refused("FFV1 in Matroska", _codec("ffv1", "mkv"), 422, "codec-not-allowed"),
    refused("ProRes in MOV", _codec("prores_ks", "mov", "yuv422p10le"), 422, "codec-not-allowed"),
    refused("MagicYUV in AVI", _codec("magicyuv", "avi"), 422, "codec-not-allowed"),
    refused("raw pictures in AVI", _codec("rawvideo", "avi"), 422, "codec-not-allowed"),
    refused("PNG pictures in MOV", _codec("png", "mov", "rgb24"), 422, "codec-not-allowed"),
]
