"""Bit streams written by hand: what no encoder at hand makes, and cameras do."""

import re

from tests.extract.support.ffmpeg_program import ffmpeg

START = b"\x00\x00\x00\x01"


class Bits:
    """Reads a bit stream: numbers of so many bits, and Exp-Golomb codes."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._place = 0

    def take(self, count: int) -> int:
        self._place += count
        return int(self._bits[self._place - count : self._place] or "0", 2)

    def golomb(self) -> int:
        zeros = self._bits.index("1", self._place) - self._place
        self._place += zeros
        return self.take(zeros + 1) - 1

    def rest(self) -> str:
        """What is left, without the stop bit and the zeros after it."""
        return self._bits[self._place :].rstrip("0")[:-1]


def golomb(value: int) -> str:
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def unit(head: int, bits: str) -> bytes:
    """An H.264 unit of these bits, with its start code."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return START + bytes([head]) + re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", body)


def units_of(stream: bytes) -> list[bytes]:
    """The units of a stream with start codes, unescaped."""
    found = [piece for piece in re.split(rb"\x00\x00\x00?\x01", stream) if piece]
    return [piece.rstrip(b"\x00").replace(b"\x00\x00\x03", b"\x00\x00") for piece in found]


def field_pictures(folder, frames) -> list[bytes]:
    """H.264 field pictures, one a packet, as AVCHD cameras record them; every one a key picture.

    Each field is encoded as a picture of half the height; the heads are written anew, so that two
    make a frame.
    """
    fields = [frame[first::2] for frame in frames for first in (0, 1)]
    settings = "keyint=1:cabac=0:8x8dct=0:aud=0:annexb=1:threads=1:i4x4=0:i8x8=0"
    file = folder / "fields.h264"
    ffmpeg(
        *("-c:v", "libx264", "-preset", "ultrafast", "-qp", "14", "-pix_fmt", "yuv420p"),
        *("-x264-params", settings, "-bsf:v", "filter_units=remove_types=6", "-f", "h264", file),
        frames=fields,
        rate="60",
    )
    packets: list[bytes] = []
    heads, numbers = b"", _Lengths()
    for piece in units_of(file.read_bytes()):
        kind, bits = piece[0] & 31, Bits(piece[1:])
        if kind == 7:
            heads = numbers.sequence(bits)
        elif kind == 8:
            heads += unit(piece[0], "".join(f"{byte:08b}" for byte in piece[1:])[: -_tail(piece)])
        else:
            is_second = len(packets) % 2
            picture = numbers.picture(bits, len(packets), is_key=kind == 5)
            packets.append((b"" if is_second else heads) + picture)
    return packets


def _tail(piece: bytes) -> int:
    """Bits from the stop bit on."""
    bits = f"{piece[-1]:08b}"
    return len(bits) - bits.rindex("1")


class _Lengths:
    """The sequence's head, and how long it says that numbers in pictures' heads are."""

    def sequence(self, bits: Bits) -> bytes:
        profile, _, _ = bits.take(8), bits.take(8), bits.take(8)
        out = f"{77:08b}{0:08b}{31:08b}" + golomb(bits.golomb())
        if profile in (100, 110, 122, 244):
            assert bits.golomb() == 1  # 4:2:0
            bits.golomb(), bits.golomb(), bits.take(1)
            assert not bits.take(1)
        self._frame_bits = bits.golomb() + 4
        out += golomb(self._frame_bits - 4)
        self._order_kind = bits.golomb()
        self._order_bits = bits.golomb() + 4 if self._order_kind == 0 else 0
        out += golomb(0) + golomb(4)  # order counts of eight bits
        out += golomb(max(1, bits.golomb())) + str(bits.take(1))
        out += golomb(bits.golomb()) + golomb(bits.golomb())
        assert bits.take(1)  # frames only, so far
        out += "00"  # fields too, but no fields by macroblock
        bits.take(1)
        out += "1" + str(crop := bits.take(1))
        out += "".join(golomb(bits.golomb()) for _ in range(4 * crop))
        return unit(0x67, out + "0")

    def picture(self, bits: Bits, number: int, *, is_key: bool) -> bytes:
        frame, is_second = divmod(number, 2)
        out = "".join(golomb(bits.golomb()) for _ in range(3))
        bits.take(self._frame_bits)
        out += "0" * self._frame_bits + f"1{is_second}"
        if is_key:
            bits.golomb()
        bits.take(self._order_bits)
        bits.take(2 if is_key else 1)
        out += "" if is_second else golomb(frame % 2)
        out += f"{is_second:08b}" + ("0" if is_second else "00")
        return unit(0x61 if is_second else 0x65, out + bits.rest())


def not_coded(number: int, bits: int = 5) -> bytes:
    """An MPEG-4 picture that says no more than: the one before again (N-VOP)."""
    text = f"{0x1B6:032b}" + "01" + "0" + "1" + f"{number:0{bits}b}" + "1" + "0"
    text += "0" + "1" * (-(len(text) + 1) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")
