"""Clips that are broken, cut, or lie about themselves."""

import random
from collections.abc import Callable

from tests.support.hostile import boxes
from tests.support.hostile.pictures import clip, index_first, plain
from tests.support.hostile.specimen import Bait, Make, answered, refused

UNDECODABLE = (422, "undecodable-video")


def _cut(make: Make, share: float) -> Make:
    def cut(bait: Bait) -> bytes:
        whole = make(bait)
        return whole[: int(share * len(whole))]

    return cut


def _patched(kind: bytes, at: int, value: int, *, size: int = 4) -> Make:
    """A number of the index overwritten."""
    return lambda bait: boxes.edit(
        plain(bait), kind, lambda payload: boxes.put(payload, at, value, size=size)
    )


def _in_pictures(change: Callable[[bytes], bytes]) -> Make:
    """Coded pictures changed, the index left alone."""

    def make(bait: Bait) -> bytes:
        data = index_first(bait)
        begin, end = boxes.place_of(data, b"mdat")
        return data[: begin + 8] + change(data[begin + 8 : end]) + data[end:]

    return make


def _zero_the_end(data: bytes) -> bytes:
    keep = 2 * len(data) // 3
    return data[:keep] + bytes(len(data) - keep)


def _noise_in_the_middle(data: bytes) -> bytes:
    noise = random.Random(2).randbytes(len(data) // 3)
    begin = len(data) // 3
    return data[:begin] + noise + data[begin + len(noise) :]


def _no_samples(bait: Bait) -> bytes:
    """A track with a complete index of nothing."""
    data = boxes.edit(plain(bait), b"stsz", lambda p: boxes.put(p[:12], 8, 0))
    for kind in (b"stts", b"stsc", b"stco", b"ctts", b"stss"):
        data = boxes.edit(data, kind, lambda p: boxes.put(p[:8], 4, 0))
    return data


def _nested(bait: Bait) -> bytes:
    """Boxes in boxes in boxes."""
    inner = b""
    for _ in range(2000):
        inner = boxes.box(b"moov", inner)
    return boxes.box(b"ftyp", b"isom\0\0\2\0isom") + inner


def _endless_boxes(_: Bait) -> bytes:
    """A box that is said to take no room, so that a reader could stay on it for ever."""
    return boxes.box(b"ftyp", b"isom\0\0\2\0isom") + b"\0\0\0\1moov" + bytes(4096)


def _mp4_head(_: Bait) -> bytes:
    return boxes.box(b"ftyp", b"isom\0\0\2\0isomavc1") + random.Random(3).randbytes(5000)


def _ebml_head(bait: Bait) -> bytes:
    return clip(bait, ending="mkv")[:200] + random.Random(4).randbytes(5000)


def _avi_head(_: Bait) -> bytes:
    return b"RIFF\xff\xff\xff\x7fAVI LIST" + random.Random(5).randbytes(5000)


def _only_pictures(bait: Bait) -> bytes:
    data = plain(bait)
    begin, end = boxes.place_of(data, b"mdat")
    return data[begin:end]


SPECIMENS = [
    refused("MP4's head and noise", _mp4_head, *UNDECODABLE),
    refused("Matroska's head and noise", _ebml_head, *UNDECODABLE),
    refused("AVI's head and noise", _avi_head, *UNDECODABLE),
    refused("pictures without an index", _only_pictures, *UNDECODABLE),
    refused("cut before the index", _cut(plain, 0.6), *UNDECODABLE),
    refused("cut in the index", _cut(plain, 0.95), *UNDECODABLE),
    refused("index first, cut at a tenth", _cut(index_first, 0.1), *UNDECODABLE),
    refused("index first, cut in the middle", _cut(index_first, 0.5), *UNDECODABLE),
    answered("index first, cut before the last pictures", _cut(index_first, 0.98), "damaged"),
    refused("Matroska cut in the middle", _cut(lambda b: clip(b, 100, ending="mkv"), 0.3),
            *UNDECODABLE),
    refused("AVI cut at its head", _cut(lambda b: clip(b, ending="avi"), 0.01), *UNDECODABLE),
    refused("noise in the middle", _in_pictures(_noise_in_the_middle), *UNDECODABLE),
    refused("last third zeroed", _in_pictures(_zero_the_end), *UNDECODABLE),
    refused("all pictures zeroed", _in_pictures(lambda d: bytes(len(d))), *UNDECODABLE),
    refused("no frame at all", _no_samples, *UNDECODABLE),
    answered("times of two thousand million frames", _patched(b"stts", 8, 2**31 - 1)),
    refused("two thousand million frames declared", _patched(b"stsz", 8, 2**31 - 1), *UNDECODABLE),
    answered("ten more frames declared than there are", _patched(b"stsz", 8, 50)),
    refused("sizes of pictures past the end", _patched(b"stsz", 12, 2**31), *UNDECODABLE),
    refused("pictures said to lie past the end", _patched(b"stco", 8, 2**31), *UNDECODABLE),
    answered("all frames at one time", _patched(b"stts", 12, 0), "padded", "times-repaired"),
    answered("a length of centuries declared", _patched(b"mvhd", 16, 2**32 - 1)),
    answered("a size of 16000x16000 declared", _patched(b"tkhd", 76, 16000 << 16)),
    refused("boxes two thousand deep", _nested, *UNDECODABLE),
    refused("a box of no size", _endless_boxes, *UNDECODABLE),
]  # fmt: skip
